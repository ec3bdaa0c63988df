"""A published database made by hand, for the tests of what reads it: real DuckDB, contracted columns, chosen rows."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path
from uuid import UUID

import duckdb

SCHEMA = """
    create schema marts;
    create table marts.dim_bounce_texts (
        text_id uuid, bounce_text varchar, description varchar, reason varchar, sample_text varchar
    );
    create table marts.ops_sources (
        source_name varchar, data_through_at timestamp, event_count bigint, file_count bigint, record_count bigint,
        rejected_count bigint, ignored_count bigint, duplicate_count bigint, last_landed_at timestamp
    );
    create table marts.ops_loads (
        source_name varchar, source_file varchar, file_digest varchar, is_complete boolean, records_landed bigint, records_rejected bigint
    );
    create table marts.ops_publication as
    select
        'b1' as build_id, timestamp '2026-04-01 06:00:00' as published_at, 'abc123' as rule_set_version,
        'smtp_5xx' as suppression_policy, '0.1.0' as bouncehouse_version;
    create table marts.ops_reconciliation as select 'kumomta/20260301' as source_file, 0::bigint as difference_count;
    create table marts.ops_restatements as
    select date '2026-03-05' + day::integer as event_date, 'b1' as build_id from range(2) as days (day), range(3);
    create table marts.fct_bounces (
        event_at timestamp, event_date date, from_domain varchar, sending_ip varchar, campaign_id varchar,
        recipient_domain varchar, bounce_class varchar, text_id uuid, reason varchar
    );
    create table marts.fct_non_deliveries (
        undelivered_at timestamp, undelivered_date date, from_domain varchar, sending_ip varchar, campaign_id varchar,
        recipient_domain varchar, cause varchar, bounce_class varchar, text_id uuid, reason varchar
    );
    create table marts.dim_suppressed_addresses (
        address varchar, recipient_domain varchar, suppressed_at timestamp, reason varchar, text_id uuid,
        source_name varchar, campaign_id varchar, acted_by varchar, why varchar, rule_set_version varchar,
        suppression_policy varchar
    );
    create table marts.fct_suppression_events (
        suppression_event_id varchar, address varchar, occurred_at timestamp, action varchar, acted_by varchar,
        why varchar, reason varchar, source_name varchar, response_text varchar, rule_set_version varchar,
        suppression_policy varchar
    );
    create table marts.rpt_delivery_daily (
        event_date date, source_name varchar, campaign_id varchar, from_domain varchar, sending_ip varchar,
        recipient_domain varchar, provider varchar, delivered_first_attempt_count bigint,
        deferred_first_attempt_count bigint
    );
    create table marts.rpt_new_bounce_texts (
        event_date date, text_id uuid, change varchar, bounce_text varchar, reason varchar, bounce_count bigint,
        usual_count double, history_day_count integer, previous_date date, sample_text varchar
    );
"""

DAILY_MARTS = """
    create table marts.rpt_bounces_daily as
    select
        event_date, 'kumomta' as source_name, campaign_id, from_domain, sending_ip, recipient_domain, bounce_class,
        text_id, reason, count(*) as bounce_count
    from marts.fct_bounces
    group by all;
    create table marts.rpt_undeliveries_daily as
    select
        undelivered_date, 'kumomta' as source_name, campaign_id, from_domain, sending_ip, recipient_domain, cause,
        bounce_class, text_id, reason, count(*) as undelivery_count
    from marts.fct_non_deliveries
    group by all;
"""


@dataclass(frozen=True)
class Bounce:
    """A row of `fct_bounces`; `event_at` is UTC and naive."""

    event_at: datetime
    from_domain: str | None = "news.example"
    sending_ip: str | None = "192.0.2.1"
    campaign_id: str | None = "spring"
    recipient_domain: str | None = "mail.example"
    bounce_class: str = "soft"
    bounce_text: str = "451 Please try again later"
    reason: str = "service_unavailable"


@dataclass(frozen=True)
class NonDelivery:
    """A row of `fct_non_deliveries`; no bounce text means that no reply was ever logged."""

    undelivered_at: datetime
    from_domain: str | None = "news.example"
    sending_ip: str | None = "192.0.2.1"
    campaign_id: str | None = "spring"
    recipient_domain: str | None = "mail.example"
    cause: str = "hard_bounce"
    bounce_class: str | None = "hard"
    bounce_text: str | None = "550 5.1.1 <EMAIL>: no such user"
    reason: str | None = "user_unknown"


@dataclass(frozen=True)
class Suppressed:
    """A row of `dim_suppressed_addresses`, with the one event of the ledger that put it there."""

    address: str
    suppressed_at: datetime = datetime(2026, 3, 3, 4, 5, 6)
    bounce_text: str = "550 5.1.1 <EMAIL>: no such user"


def make_text_id(bounce_text: str | None) -> UUID | None:
    return None if bounce_text is None else UUID(bytes=hashlib.md5(bounce_text.encode()).digest())


def make_published(
    path: Path,
    bounces: Iterable[Bounce] = (),
    non_deliveries: Iterable[NonDelivery] = (),
    suppressed: Iterable[Suppressed] = (),
    samples: dict[str, str] | None = None,
    data_through_at: datetime | None = datetime(2026, 3, 31, 23, 59),
) -> Path:
    """Write the database; `samples` gives whole original messages by bounce text, where it is not the text itself."""
    bounces, non_deliveries, suppressed = list(bounces), list(non_deliveries), list(suppressed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    rows: list[Bounce | NonDelivery | Suppressed] = [*bounces, *non_deliveries, *suppressed]
    texts = {row.bounce_text for row in rows if row.bounce_text is not None}
    with duckdb.connect(str(path)) as connection:
        connection.execute(SCHEMA)
        _insert(connection, "dim_bounce_texts", [
            [make_text_id(text), text, f"about {text}"[:80], "reason", (samples or {}).get(text, text)]
            for text in sorted(texts)
        ])  # fmt: skip
        if data_through_at is not None:
            _insert(connection, "ops_sources", [["kumomta", data_through_at, 10, 2, 12, 1, 1, 0, data_through_at]])
            _insert(connection, "ops_loads", [["kumomta", "a", "d1", True, 11, 0], ["kumomta", "b", "d2", False, 0, 1]])
        _insert(connection, "fct_bounces", [_make_row(bounce) for bounce in bounces])
        _insert(connection, "fct_non_deliveries", [_make_row(row) for row in non_deliveries])
        _insert(connection, "dim_suppressed_addresses", [
            [row.address, row.address.rpartition("@")[2], row.suppressed_at, "user_unknown",
             make_text_id(row.bounce_text), "kumomta", "spring", "bouncehouse", "hard bounce", "abc123", "smtp_5xx"]
            for row in suppressed
        ])  # fmt: skip
        _insert(connection, "fct_suppression_events", [
            [str(number), row.address, row.suppressed_at, "added", None, None, "user_unknown", "kumomta",
             row.bounce_text, "abc123", "smtp_5xx"]
            for number, row in enumerate(suppressed)
        ])  # fmt: skip
        connection.execute(DAILY_MARTS)
    return path


def _make_row(fact: Bounce | NonDelivery) -> list[object]:
    values = dict(zip((column.name for column in fields(fact)), astuple(fact), strict=True))
    moment, *rest = values.items()
    return [
        moment[1],
        moment[1].date(),
        *(make_text_id(value) if name == "bounce_text" else value for name, value in rest),
    ]


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]]) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f"insert into marts.{table} values ({places})", rows)
