"""Who is on a list, and why: what `suppression list` and `suppression why` show."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from flows.settings import Settings
from flows.suppression.actions import ListName, check_address
from flows.suppression.current import find_normal_address, open_current

VIEWS: dict[ListName, str] = {"suppression": "suppressed", "global": "globally_suppressed"}


@dataclass(frozen=True)
class Filters:
    """What `list` is asked for; None does not filter. Times are UTC and naive, `until` is exclusive.

    `reason` is that of a bounce, such as `user_unknown`, or what put an address there: `administrator`, `import` …
    """

    list_name: ListName = "suppression"
    domain: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None


def list_suppressed(settings: Settings, filters: Filters, limit: int | None = None) -> tuple[pa.Table, int]:
    """Take the addresses of a list as it stands now, by address, and how many there are beyond `limit` too."""
    with open_current(settings) as current:
        condition = """
            ($domain::varchar is null or recipient_domain = lower($domain) or recipient_domain = idna_domain($domain))
            and ($reason::varchar is null or reason = $reason or cause = $reason)
            and ($since::timestamp is null or suppressed_at >= $since)
            and ($until::timestamp is null or suppressed_at < $until)
            and ($source::varchar is null or source_name = $source)
        """
        values = {
            "domain": filters.domain,
            "reason": filters.reason,
            "since": filters.since,
            "until": filters.until,
            "source": filters.source,
        }
        view = VIEWS[filters.list_name]
        table: pa.Table = current.connection.execute(
            f"""
            select address, suppressed_at, cause, reason, source_name, campaign_id, acted_by, why, is_pending
            from {view}
            where {condition}
            order by address
            {"" if limit is None else f"limit {limit}"}
            """,
            values,
        ).to_arrow_table()
        total = current.connection.execute(f"select count(*) from {view} where {condition}", values).fetchone()
    return table, int(total[0]) if total else 0


@dataclass(frozen=True)
class History:
    """All that is known of an address in its normal form: `events` oldest first, and its `states` by list (or None)."""

    address: str
    events: list[dict[str, Any]]
    states: dict[ListName, dict[str, Any] | None]


def find_history(settings: Settings, address: str) -> History:
    """Take the changes of both lists that speak of the address, and the facts that changed nothing, with the replies.

    Such facts are hard bounces of an address that was on the list already (`bounced again`), those that a recovery
    disregards (`disregarded`), and removals of one that was not on it.
    """
    written = check_address(address)
    with open_current(settings) as current:
        connection = current.connection
        address = find_normal_address(connection, written)
        result = connection.execute(
            """
            with ledger as (
                select * from history where address = $address
            ),

            facts as (
                select *, false as is_pending
                from marts.fct_suppression_causes as causes
                where
                    address = $address
                    and (list_name, address) not in (select (list_name, address) from touched)
                union all by name
                select * from causes_now where address = $address
            ),

            without_effect as (
                select
                    facts.* exclude (ends_at, end_action, ended_by, end_why, end_id),
                    case
                        when facts.is_removal then 'removed, though not on it'
                        when facts.ends_at <= facts.occurred_at then 'disregarded'
                        when facts.cause in ('hard_bounce', 'soft_bounces') then 'bounced again'
                        else 'added again'
                    end as action
                from facts
                where (facts.list_name, facts.cause_id) not in (select (list_name, suppression_event_id) from ledger)
            )

            select
                list_name, occurred_at, action, cause, acted_by, why, reason, rule_id, source_name, campaign_id,
                response_text, rule_set_version, suppression_policy, is_pending
            from (
                select *, suppression_event_id as place from ledger
                union all by name
                select *, cause_id as place from without_effect
            )
            order by occurred_at, list_name, action in ('added', 'imported'), place
            """,
            {"address": address},
        )
        names = [column[0] for column in result.description or ()]
        events = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        states: dict[ListName, dict[str, Any] | None] = {}
        for list_name, view in VIEWS.items():
            row = connection.execute(
                f"select suppressed_at, is_pending from {view} where address = ?", [address]
            ).fetchone()
            states[list_name] = {"suppressed_at": row[0], "is_pending": row[1]} if row else None
    return History(address, events, states)
