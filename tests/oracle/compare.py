"""The published marts in the oracle's rows."""

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb

QUERIES = {
    "fct_delivery_events": """
        select events.source_name, message_id, recipient, event_at, event_type, is_attempt, bounce_class, events.reason,
            texts.bounce_text, case when events.text_id is not null then events.smtp_code end::varchar,
            case when events.text_id is not null then events.enhanced_code end, envelope_sender, from_domain, campaign_id, sending_ip
        from marts.fct_delivery_events as events left join marts.dim_bounce_texts as texts using (text_id)""",
    "attempts": """
        select source_name, message_id, recipient, event_at, attempt_number
        from marts.fct_delivery_events where attempt_number is not null""",
    "fct_bounces": """
        select source_name, message_id, recipient, event_at, event_type, bounce_class, is_final, bounces.reason, bounce_text,
            envelope_sender, from_domain, campaign_id, sending_ip
        from marts.fct_bounces as bounces left join marts.dim_bounce_texts using (text_id)""",
    "rpt_bounces_daily": """
        select event_date, source_name, campaign_id, from_domain, sending_ip, recipient_domain, bounce_class, bounce_text,
            daily.reason, bounce_count
        from marts.rpt_bounces_daily as daily left join marts.dim_bounce_texts using (text_id)""",
    "rpt_delivery_daily": """
        unpivot (
            select * exclude (provider) from marts.rpt_delivery_daily
        ) on columns('.*_count$') into name count_name value count_value""",
    "ops_sources": """
        select source_name, separate_report_count, unlinked_report_count from marts.ops_sources where separate_report_count > 0""",
    "fct_messages": """
        select source_name, message_id, recipient, envelope_sender, from_domain, sending_ip, campaign_id, outcome, cause,
            first_event_at, last_event_at, first_attempt_at, last_attempt_at, attempt_count, deferral_count, delivered_at,
            seconds_to_delivery, undelivered_at, next_resend_at, has_complaint, has_linked_report, messages.reason,
            bounce_text, bounce_class
        from marts.fct_messages as messages left join marts.dim_bounce_texts using (text_id)""",
    "fct_non_deliveries": """
        select source_name, message_id, recipient, envelope_sender, from_domain, sending_ip, campaign_id, cause, undelivered_at,
            failed.reason, bounce_text, bounce_class
        from marts.fct_non_deliveries as failed left join marts.dim_bounce_texts using (text_id)""",
    "rpt_undeliveries_daily": """
        select undelivered_date, source_name, campaign_id, from_domain, sending_ip, recipient_domain, cause, bounce_class,
            bounce_text, daily.reason, undelivery_count
        from marts.rpt_undeliveries_daily as daily left join marts.dim_bounce_texts using (text_id)""",
    "fct_suppression_events": "select address, occurred_at, action, acted_by, cause from marts.fct_suppression_events",
    "fct_global_suppression_events": "select address, occurred_at, action, acted_by, cause from marts.fct_global_suppression_events",
    "dim_suppressed_addresses": "select address, suppressed_at, acted_by, cause from marts.dim_suppressed_addresses",
    "dim_global_suppressed_addresses": "select address, suppressed_at, acted_by, cause from marts.dim_global_suppressed_addresses",
    "dim_profile_history": "select address, profile_status, valid_from, valid_until from marts.dim_profile_history",
    "dim_profiles": "select address, profile_status, hard_bounced_at, first_seen_at, last_seen_at from marts.dim_profiles",
    "fct_suppressed_sends": """
        select sends.source_name, message_id, sends.recipient, sends.event_at, sends.event_type, suppressed_at, is_in_flight
        from marts.fct_suppressed_sends as sends join marts.fct_messages using (message_recipient_id)""",
}  # fmt: skip
COUNTED = ("rpt_bounces_daily", "rpt_undeliveries_daily")
"""Their last column says how often a row is there."""


def read_marts(database: Path) -> dict[str, Counter[tuple[Any, ...]]]:
    rows: dict[str, Counter[tuple[Any, ...]]] = {}
    with duckdb.connect(database, read_only=True) as connection:
        for mart, query in QUERIES.items():
            found = connection.execute(query).fetchall()
            rows[mart] = Counter()
            for row in found:
                if mart == "rpt_delivery_daily":
                    *of_day, name, value = row
                    if value:
                        rows[mart][*of_day, name.removesuffix("_count")] += value
                elif mart in COUNTED:
                    rows[mart][row[:-1]] += row[-1]
                else:
                    rows[mart][row] += 1
    return rows


def differences(
    expected: dict[str, Counter[tuple[Any, ...]]], found: dict[str, Counter[tuple[Any, ...]]]
) -> dict[str, list[str]]:
    """By mart, the rows that only one of the two has."""
    different = {}
    for mart in QUERIES:
        missing, surplus = expected.get(mart, Counter()) - found[mart], found[mart] - expected.get(mart, Counter())
        if missing or surplus:
            different[mart] = [
                *(f"oracle {describe(row)}" for row in missing), *(f"mart   {describe(row)}" for row in surplus),
            ]  # fmt: skip
    return different


def describe(row: tuple[Any, ...]) -> str:
    return " | ".join("" if value is None else str(value) for value in row)
