"""The lists as they stand now: the published state, with every action applied that no run has taken in yet.

Only addresses that such actions touch are judged anew, from all that is published about them, by the same macro that
the models use; the others are as published, and are not copied.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flows.dbt_macros import read_macros
from flows.erasure.pseudonyms import prepare, read_pseudonyms
from flows.problems import ActionableError
from flows.report import open_published
from flows.settings import Settings
from flows.sql import text
from flows.suppression.actions import IS_PLAIN_ADDRESS

ACTION_FIELDS = (
    "action_id",
    "action",
    "list",
    "at",
    "address",
    "by",
    "reason",
    "listed_at",
    "origin",
    "from",
    "until",
    "margin_hours",
    "recipient_domain",
    "provider",
    "pattern",
    "bounce_reason",
)
"""Keys of an action line, as in flows/landing/actions.py."""

IMPORT_PREFIX = "import-"
"""Files of this name hold one import each, and are written once."""

STATE_COLUMNS = """
    address, recipient_domain, suppressed_at, acted_by, why, cause, event_id, source_name, campaign_id, text_id, reason,
    rule_id, is_pending
"""


@dataclass(frozen=True)
class Current:
    """A connection with the views `suppressed` and `globally_suppressed` (one row an address) and `history`.

    `is_pending` in them says that an action decides which no run has taken in; `pending_count` is how many such there
    are. The tables `pending` (actions) and `causes_now` (facts on the addresses they touch) are there too, in the
    database `scratch` that lasts as long as the connection.
    """

    connection: duckdb.DuckDBPyConnection
    pending_count: int


@contextmanager
def open_current(settings: Settings) -> Iterator[Current]:
    """Read the published database, and lay out the lists as they stand now; `ActionableError` if nothing is there.

    What does not fit into memory goes to a folder of its own, which only its owner can read, and which goes again.
    """
    with (
        open_published(settings.published_database) as connection,
        tempfile.TemporaryDirectory(prefix="bouncehouse-", ignore_cleanup_errors=True) as spilled,
    ):
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set temp_directory = {text(spilled)}")
        connection.execute(f"set memory_limit = {text(share_memory(settings.memory_limit))}")
        # tables of a database in a file are compressed, and only in memory while they are read
        connection.execute(f"attach {text(spilled + '/scratch.duckdb')} as scratch (read_write)")
        row = connection.execute("select '\"' || replace(current_database(), '\"', '\"\"') || '\"'").fetchone()
        connection.execute(f"set search_path = {text(f'{row[0] if row else None}.main,scratch.main')}")
        if settings.threads:
            connection.execute(f"set threads = {settings.threads}")
        register_functions(connection)
        prepare(connection, read_pseudonyms(settings))
        names = connection.execute(
            """select table_name || '.' || column_name from information_schema.columns where table_schema = 'marts'"""
        ).fetchall()
        if not {"fct_suppression_causes.response_text", "ops_actions.action_id"} <= {name for (name,) in names}:
            raise ActionableError(
                f"{settings.published_database} was published by an older bouncehouse",
                "let this one build and publish: bouncehouse run",
            )
        read_pending(connection, settings)
        connection.execute("set preserve_insertion_order = false")
        lay_out(connection)
        connection.execute("set preserve_insertion_order = true")
        count = connection.execute("select count(*) from pending").fetchone()
        yield Current(connection, count[0] if count else 0)


def share_memory(limit: str) -> str:
    """Give the engine three fifths of a memory limit: the rest is for what it does not count."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", limit)
    return f"{0.6 * float(found[1]):.3f}{found[2]}" if found else limit


def register_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Give the connection what the macros of `macros/` call beyond DuckDB's own functions."""
    from flows import addresses

    addresses.register(connection)


def normal_address(written: str) -> str:
    """SQL for an address in its one normal form, from SQL for it as written.

    The macro decides. Most addresses need no more of it than to be in lower case, which is ten times as fast. One that
    was erased comes as its pseudonym.
    """
    return f"""known_address(case
        when regexp_full_match({written}, {text(IS_PLAIN_ADDRESS)}) then lower({written})
        else {read_macros().normal_address(written)}
    end)"""


def read_pending(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make the table `pending`, of the shape of `ops_actions`: the actions in the files that no build has taken in.

    What landing would refuse is passed over here too, a line that is cut among it.
    """
    paths = [str(path) for path in find_action_files(connection, settings)]
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in ACTION_FIELDS)
    nothing = ", ".join(f'null::varchar as "{name}"' for name in ACTION_FIELDS)
    lines = (
        f"read_json($paths, columns = {{{columns}}}, format = 'newline_delimited', ignore_errors = true)"
        if paths
        else f"(select {nothing} limit 0)"
    )
    macros = read_macros()
    connection.execute(
        f"""
        create or replace table scratch.pending as
        with lines as (
            select * from {lines}
            where
                action_id is not null
                and action in ('add', 'remove', 'import', 'recover')
                and coalesce("list", 'suppression') in ('suppression', 'global')
                and coalesce("by", '') <> ''
                and coalesce(reason, '') <> ''
                and action_id not in (select action_id from marts.ops_actions)
        )

        select
            action_id,
            action,
            coalesce("list", 'suppression') as list_name,
            {macros.timestamp_from_iso('"at"')} as acted_at,
            {normal_address("address")} as address,
            "by" as acted_by,
            reason as why,
            {macros.timestamp_from_iso("listed_at")} as listed_at,
            origin,
            {macros.timestamp_from_iso('"from"')} as from_at,
            {macros.timestamp_from_iso('"until"')} as until_at,
            try_cast(margin_hours as double) as margin_hours,
            lower(recipient_domain) as recipient_domain,
            provider,
            case when try(regexp_matches('', pattern)) is not null then pattern end as pattern,
            bounce_reason
        from lines
        where
            acted_at is not null
            and case
                when lines.action = 'recover'
                    then from_at is not null and until_at is not null
                        and (lines.pattern is null or try(regexp_matches('', lines.pattern)) is not null)
                else lines.address is not null
            end
        qualify row_number() over (partition by action_id order by "at") = 1
        """,
        {"paths": paths} if paths else {},
    )


def find_action_files(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[Path]:
    """List the action files that may hold what no build has taken in.

    An import has a file of its own that never grows, and is landed whole, so that its first line tells of all.
    """
    paths = []
    for path in sorted(settings.actions.rglob("*.jsonl")):
        if not path.is_file() or path.name.startswith(".") or not path.stat().st_size:
            continue
        if path.name.startswith(IMPORT_PREFIX):
            with path.open("rb") as file:
                line = file.readline()
            try:
                action_id = json.loads(line).get("action_id")
            except (ValueError, AttributeError):
                action_id = None
            is_known = connection.execute(
                "select exists (select 1 from marts.ops_actions where action_id = ?)", [action_id]
            ).fetchone()
            if is_known and is_known[0]:
                continue
        paths.append(path)
    return paths


def lay_out(connection: duckdb.DuckDBPyConnection, *, pending: str = "pending", prefix: str = "") -> None:
    """Make the views and tables that `Current` tells of, their names begun with `prefix`, from a table of actions."""
    macros = read_macros()
    digest = macros.digest(["'reverted'", "recoveries.action_id", "causes.event_id", "causes.cause"])
    connection.execute(
        f"""
        create or replace table scratch.{prefix}reverted as
        select
            causes.cause_id,
            greatest(recoveries.acted_at, causes.occurred_at) as ends_at,
            'reverted' as end_action,
            recoveries.acted_by as ended_by,
            recoveries.why as end_why,
            {digest} as end_id
        from (
            select
                listed.cause_id, listed.address, listed.cause, listed.event_id, listed.occurred_at,
                listed.occurred_at as event_at, listed.recipient_domain, listed.reason, listed.event_type,
                listed.response_text, listed.provider,
            from marts.fct_suppression_causes as listed
            where
                listed.list_name = 'suppression'
                and listed.cause in ('hard_bounce', 'soft_bounces')
                and exists (select 1 from {pending} where action = 'recover')
                and listed.occurred_at >= (select min(from_at) from {pending} where action = 'recover')
        ) as causes
        inner join {pending} as recoveries
            on recoveries.action = 'recover' and {macros.matches_recovery("causes", "recoveries")}
        qualify row_number() over (partition by causes.cause_id order by ends_at, end_id) = 1
        """
    )
    connection.execute(
        f"""
        create or replace table scratch.{prefix}touched as
        select distinct list_name, address from {pending} where action <> 'recover' and address is not null
        union
        select distinct causes.list_name, causes.address
        from marts.fct_suppression_causes as causes
        inner join {prefix}reverted as reverted on causes.cause_id = reverted.cause_id
        """
    )
    is_earlier = "coalesce(reverted.ends_at < causes.ends_at, causes.ends_at is null)"
    is_reverted = f"reverted.cause_id is not null and {is_earlier}"
    ends = ", ".join(
        f"case when {is_reverted} then reverted.{name} else causes.{name} end as {name}"
        for name in ("ends_at", "end_action", "ended_by", "end_why", "end_id")
    )
    connection.execute(
        f"""
        create or replace table scratch.{prefix}causes_now as
        select
            causes.* exclude (ends_at, end_action, ended_by, end_why, end_id),
            {ends},
            false as is_pending
        from marts.fct_suppression_causes as causes
        semi join {prefix}touched as touched
            on causes.list_name = touched.list_name and causes.address = touched.address
        left join {prefix}reverted as reverted on causes.cause_id = reverted.cause_id
        union all by name
        select *, true as is_pending from ({macros.action_causes(pending)})
        """
    )
    # An address of which nothing else is known is on the list, and its ledger is that one change: a list that has just
    # been imported is mostly such.
    connection.execute(
        f"""
        create or replace table scratch.{prefix}newcomers as
        select list_name, address
        from {prefix}causes_now
        group by list_name, address
        having count(*) = 1 and not bool_or(is_removal) and max(ends_at) is null
        """
    )
    connection.execute(
        f"""
        create or replace table scratch.{prefix}replayed as
        with involved as (
            from {prefix}causes_now as causes
            anti join {prefix}newcomers as newcomers
                on causes.list_name = newcomers.list_name and causes.address = newcomers.address
        )

        select *, false as is_newcomer from ({macros.replayed_ledger("involved")})
        union all by name
        select
            causes.* exclude (
                is_removal, is_pending, cause_id, ends_at, end_action, ended_by, end_why, end_id,
                event_type, provider, response_text
            ),
            cause_id as suppression_event_id,
            case cause when 'import' then 'imported' else 'added' end as action,
            true as is_newcomer
        from {prefix}causes_now as causes
        semi join {prefix}newcomers as newcomers
            on causes.list_name = newcomers.list_name and causes.address = newcomers.address
        """
    )
    connection.execute(
        f"""
        create or replace table scratch.{prefix}listed_now as
        from (
            select * from {prefix}replayed where is_newcomer
            union all
            select * from {prefix}replayed where not is_newcomer and list_name = 'suppression'
            qualify {macros.is_last_change()}
            union all
            select * from {prefix}replayed where not is_newcomer and list_name = 'global'
            qualify {macros.is_last_change()}
        )
        where action in ('added', 'imported')
        """
    )
    for list_name, view, mart in (
        ("suppression", "suppressed", "dim_suppressed_addresses"),
        ("global", "globally_suppressed", "dim_global_suppressed_addresses"),
    ):
        connection.execute(
            f"""
            create or replace temp view {prefix}{view} as
            select {STATE_COLUMNS} from (
                from (
                    from marts.{mart} as published
                    anti join {prefix}touched as touched
                        on touched.list_name = {text(list_name)} and published.address = touched.address
                    select published.*, false as is_pending
                )
                union all by name
                select *, occurred_at as suppressed_at, true as is_pending
                from {prefix}listed_now
                where list_name = {text(list_name)}
            )
            """
        )
    connection.execute(
        f"""
        create or replace temp view {prefix}history as
        select
            list_name, suppression_event_id, address, recipient_domain, occurred_at, action, acted_by, why, cause,
            event_id, source_name, campaign_id, reason, rule_id, response_text, rule_set_version, suppression_policy,
            is_pending,
        from (
            from (
                from (
                    select *, 'suppression' as list_name from marts.fct_suppression_events
                    union all by name
                    select *, 'global' as list_name from marts.fct_global_suppression_events
                ) as published
                anti join {prefix}touched as touched
                    on published.list_name = touched.list_name and published.address = touched.address
                select published.*, false as is_pending
            )
            union all by name
            select
                replayed.*,
                causes.response_text,
                case when causes.event_id is not null then publication.rule_set_version end as rule_set_version,
                case when causes.event_id is not null then publication.suppression_policy end as suppression_policy,
                coalesce(replayed.suppression_event_id in (
                    select cause_id from {prefix}causes_now where is_pending
                    union all
                    select end_id from {prefix}reverted
                ), false) as is_pending
            from {prefix}replayed as replayed
            -- a complaint is an event too, but no rule judged it
            left join {prefix}causes_now as causes
                on replayed.suppression_event_id = causes.cause_id and replayed.list_name = 'suppression'
            cross join marts.ops_publication as publication
        )
        """
    )


def find_normal_address(connection: duckdb.DuckDBPyConnection, address: str) -> str:
    """Give an address in the form in which addresses are compared."""
    row = connection.execute(f"select {normal_address('$address::varchar')}", {"address": address}).fetchone()
    return str(row[0]) if row and row[0] is not None else address


def describe_state(state: Mapping[str, object] | None) -> str:
    """Say in words whether, and since when, an address is on a list."""
    if state is None:
        return "not on it"
    mark = "; an action decides that the next run takes in" if state["is_pending"] else ""
    return f"on it since {state['suppressed_at']:%Y-%m-%d %H:%M:%S} UTC{mark}"
