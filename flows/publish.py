"""Publish the tested marts: copy them to a new file and swap it in by rename, so that readers see one whole state."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from flows import __version__, rules
from flows.build import find_build_id
from flows.dbt_macros import read_macros
from flows.dbt_project import find_project_directory
from flows.settings import Settings

STORAGE_VERSION = "v1.2.0"
"""The oldest DuckDB that can read the published file."""

PAST_LISTS = {
    "suppressed_at": "fct_suppression_events",
    "globally_suppressed_at": "fct_global_suppression_events",
}
"""Macros of the published file that give a list at any past moment, and the ledgers that they replay."""


def published_build_id(settings: Settings) -> str | None:
    """Give the build that the published file was copied from; None where nothing is published."""
    if not settings.published_database.exists():
        return None
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        row = connection.execute("select build_id from marts.ops_publication").fetchone()
    return str(row[0]) if row else None


def publish(settings: Settings) -> Path:
    """Copy every mart of the last finished build to a new file and rename it to `bouncehouse.duckdb`.

    To be called only after `build` has returned: it tested what is copied here. Readers that have the old file open
    keep it; those that open the name see the old or the new one, never a part.
    """
    build_id = find_build_id(settings)
    if build_id is None:
        raise RuntimeError("nothing is built yet")
    target = settings.published_database
    temporary = target.with_name(f".{target.name}.new")
    for leftover in (temporary, temporary.with_name(temporary.name + ".wal")):
        leftover.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        connection.execute(f"attach {_quoted(settings.work_database)} as work (read_only)")
        connection.execute(f"attach {_quoted(temporary)} as published (storage_version '{STORAGE_VERSION}')")
        connection.execute("create schema published.marts")
        for mart in find_marts(settings):
            connection.execute(f'create table published.marts."{mart}" as select * from work.marts."{mart}"')
        connection.execute("use published")
        _copy_comments(connection, settings)
        rules.install(connection, find_project_directory(), schema="marts")
        for macro, ledger in PAST_LISTS.items():
            connection.execute(_past_list(macro, ledger))
        connection.execute(
            """create table published.marts.ops_publication as
            select
                build_id,
                finished_at as built_at,
                cast(? as timestamp) as published_at,
                rule_set_version,
                suppression_policy,
                ? as bouncehouse_version,
                -- the facts of days before this one are not all there, what is counted by day is
                (
                    select max(day) + 1
                    from (
                        select max(event_date) as day from work.landing.retained_bounce_counts
                        union all
                        select max(undelivered_date) as day from work.landing.retained_undelivery_counts
                        union all
                        select max(event_date) as day from work.landing.retained_delivery_counts
                    )
                ) as facts_from
            from work.landing.builds
            where build_id = ?""",
            [datetime.now(UTC).replace(tzinfo=None), __version__, build_id],
        )
        connection.execute("use memory")
        connection.execute("detach published")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(target)
    return target


def _past_list(macro: str, ledger: str) -> str:
    return f"""
        create macro published.marts.{macro}(moment) as table
        select address, recipient_domain, occurred_at as suppressed_at, acted_by, why, cause, event_id
        from marts.{ledger}
        where occurred_at <= cast(moment as timestamp)
        qualify {read_macros().is_last_change()} and action in ('added', 'imported')"""


def find_marts(settings: Settings) -> list[str]:
    """Names of the marts, as the build that was just run declares them."""
    nodes = _read_manifest(settings)["nodes"].values()
    return sorted(node["name"] for node in nodes if node["resource_type"] == "model" and node["schema"] == "marts")


def _copy_comments(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Give tables and columns the descriptions of their YAML, so that a client shows them."""
    for node in _read_manifest(settings)["nodes"].values():
        if node["resource_type"] == "model" and node["schema"] == "marts":
            table = f'published.marts."{node["name"]}"'
            connection.execute(f"comment on table {table} is {_quoted(node['description'])}")
            for column in node["columns"].values():
                if column["description"]:
                    connection.execute(
                        f'comment on column {table}."{column["name"]}" is {_quoted(column["description"])}'
                    )


def _read_manifest(settings: Settings) -> dict:  # type: ignore[type-arg]
    return json.loads((settings.state / "dbt" / "manifest.json").read_text())  # type: ignore[no-any-return]


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
