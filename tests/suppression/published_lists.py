"""A published database with what the two lists need, its ledger replayed by the project's own macros."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid5

import duckdb

from flows import rules
from flows.dbt_macros import read_macros
from flows.dbt_project import find_project_directory

SPACE = UUID("5f0a6d5c-9a50-4b6e-8d5b-0a1f3c1f7a11")

SCHEMA = """
    create schema marts;
    create table marts.fct_suppression_causes (
        list_name varchar, cause_id uuid, address varchar, recipient_domain varchar, occurred_at timestamp,
        cause varchar, is_removal boolean, acted_by varchar, why varchar, event_id uuid, event_type varchar,
        source_name varchar, campaign_id varchar, provider varchar, text_id uuid, reason varchar, rule_id varchar,
        response_text varchar, ends_at timestamp, end_action varchar, ended_by varchar, end_why varchar, end_id uuid
    );
    create table marts.dim_bounce_texts (text_id uuid, bounce_text varchar);
    create table marts.ops_actions (action_id varchar);
    create table marts.ops_sources as select 'kumomta' as source_name, timestamp '2026-03-31 23:59' as data_through_at;
    create table marts.ops_publication as
    select
        'b1' as build_id, timestamp '2026-04-01 06:00:00' as published_at, 'abc123' as rule_set_version,
        'smtp_5xx' as suppression_policy, '0.1.0' as bouncehouse_version;
"""


@dataclass(frozen=True)
class Fact:
    """A row of `fct_suppression_causes`; a hard bounce unless it says otherwise."""

    address: str
    occurred_at: datetime = datetime(2026, 3, 3, 4, 5, 6)
    list_name: str = "suppression"
    cause: str = "hard_bounce"
    is_removal: bool = False
    acted_by: str = "bouncehouse"
    why: str = "hard bounce"
    reply: str | None = "550 5.1.1 no such user"
    reason: str | None = "user_unknown"
    event_type: str = "bounced"
    mx_host: str | None = None
    source_name: str | None = "kumomta"
    campaign_id: str | None = "spring"


def decided(address: str, occurred_at: datetime, *, is_removal: bool = False, **values) -> Fact:
    """What an administrator decided, already taken in."""
    values = {"cause": "administrator", "acted_by": "eve", "why": "asked", **values}
    return Fact(
        address,
        occurred_at,
        is_removal=is_removal,
        reply=None,
        reason=None,
        source_name=None,
        campaign_id=None,
        **values,
    )


def publish(path: Path, facts: list[Fact], action_ids: list[str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    macros = read_macros()
    with duckdb.connect(str(path)) as connection:
        connection.execute(SCHEMA)
        rules.install(connection, find_project_directory(), schema="marts")
        for number, fact in enumerate(facts):
            cause_id = uuid5(SPACE, f"{number}")
            event_id = uuid5(SPACE, f"event {number}") if fact.reply is not None else None
            text_id = uuid5(SPACE, fact.reply) if fact.reply is not None else None
            domain = fact.address.rpartition("@")[2]
            connection.execute(
                "insert into marts.fct_suppression_causes by name select $list_name as list_name, $cause_id as cause_id,"
                " $address as address, $domain as recipient_domain, $at as occurred_at, $cause as cause,"
                " $is_removal as is_removal, $by as acted_by, $why as why, $event_id as event_id, $source as source_name,"
                " $campaign as campaign_id, $text_id as text_id, $reason as reason, $rule as rule_id,"
                " $event_type as event_type, marts.provider_of($mx_host::varchar, $domain) as provider,"
                " $reply as response_text",
                {
                    "list_name": fact.list_name, "cause_id": cause_id, "address": fact.address, "domain": domain,
                    "at": fact.occurred_at, "cause": fact.cause, "is_removal": fact.is_removal, "by": fact.acted_by,
                    "why": fact.why, "event_id": event_id, "source": fact.source_name, "campaign": fact.campaign_id,
                    "text_id": text_id, "reason": fact.reason, "rule": fact.reason,
                    "event_type": fact.event_type if fact.reply is not None else None, "mx_host": fact.mx_host,
                    "reply": fact.reply,
                },
            )  # fmt: skip
        connection.execute(
            "insert into marts.dim_bounce_texts select distinct text_id, response_text"
            " from marts.fct_suppression_causes where event_id is not null"
        )
        connection.executemany("insert into marts.ops_actions values (?)", [[one] for one in action_ids or ["none"]])
        for list_name, ledger, state in (
            ("suppression", "fct_suppression_events", "dim_suppressed_addresses"),
            ("global", "fct_global_suppression_events", "dim_global_suppressed_addresses"),
        ):
            causes = f"(select * from marts.fct_suppression_causes where list_name = '{list_name}')"
            connection.execute(
                f"""create table marts.{ledger} as
                select
                    changes.* exclude (list_name),
                    causes.response_text,
                    case when changes.event_id is not null then 'abc123' end as rule_set_version,
                    case when changes.event_id is not null then 'smtp_5xx' end as suppression_policy
                from ({macros.replayed_ledger(causes)}) as changes
                left join marts.fct_suppression_causes as causes on changes.suppression_event_id = causes.cause_id"""
            )
            connection.execute(
                f"""create table marts.{state} as
                select * exclude (action, occurred_at, suppression_event_id), occurred_at as suppressed_at
                from (select * from marts.{ledger} qualify {macros.is_last_change()})
                where action in ('added', 'imported')"""
            )
    return path
