"""Publish the tested marts: copy them to a new file and swap it in by rename, so that readers see one whole state."""

import json
import re
from collections.abc import Container
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from flows import __version__, restatements, rules
from flows.dbt_macros import read_macros
from flows.dbt_project import find_project_directory
from flows.failpoints import failpoint
from flows.landing.loads import sync
from flows.problems import ActionableError
from flows.settings import Settings
from flows.sql import quote, text
from flows.work import is_damage, set_aside
from flows.work_state import find_build_id

STORAGE_VERSION = "v1.2.0"
"""The oldest DuckDB that can read the published file."""

NOTE_NAME = "published.json"
"""In `state/`: which build was published, and size, time and inode of the file."""

PUBLICATION = {
    "": "What this file is. Grain: one row.",
    "build_id": "The build that it was copied from.",
    "built_at": "When that build was done (UTC).",
    "published_at": "When it was copied (UTC).",
    "rule_set_version": "Digest of the rules that judged the replies.",
    "suppression_policy": "`smtp_5xx` (every final 5xx) or `recipient` (where the reason speaks of the recipient).",
    "bouncehouse_version": "The version that published it.",
    "facts_from": "First day of which all facts are there, where retention dropped older ones; counts by day stay.",
}
"""Descriptions of `ops_publication`, which is no model, and of its columns."""

PAST_LISTS = {
    "suppressed_at": "fct_suppression_events",
    "globally_suppressed_at": "fct_global_suppression_events",
}
"""Macros of the published file that give a list at any past moment, and the ledgers that they replay."""


def published_build_id(settings: Settings) -> str | None:
    """Give the build that the published file was copied from.

    None where nothing is published, or what is there is not the file as it was published: cut, written over or changed
    by a client. Does not open it where a note tells, as a client that may write locks out all others.
    """
    try:
        stamp = _stamp(settings.published_database)
    except FileNotFoundError:
        return None
    if _wal(settings.published_database).exists():
        return None
    try:
        note = json.loads((settings.state / NOTE_NAME).read_text())
        return str(note["build_id"]) if note["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # published by a bouncehouse that wrote none, or state/ was removed
    try:
        with duckdb.connect(settings.published_database, read_only=True) as connection:
            row = connection.execute("select build_id from marts.ops_publication").fetchone()
    except duckdb.Error:
        return None
    return str(row[0]) if row else None


def _remove(database: Path) -> None:
    for path in (database, _wal(database)):
        path.unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def publish(settings: Settings) -> Path:
    """Copy every mart of the last finished build to a new file and rename it to `bouncehouse.duckdb`.

    To be called only after `build` has returned: it tested what is copied here. Readers that have the old file open
    keep it; those that open the name see the old or the new one, never a part. What this changes of days that were
    published before is kept first (flows/restatements.py).
    """
    build_id = find_build_id(settings)
    if build_id is None:
        raise RuntimeError("nothing is built yet")
    published_at = datetime.now(UTC).replace(tzinfo=None)
    target = settings.published_database
    temporary = target.with_name(f".{target.name}.new")
    _remove(temporary)  # of a killed run
    try:
        _copy(settings, build_id, published_at, temporary)
    except duckdb.Error as error:
        _remove(temporary)  # where the disk is full, it is what fills it
        if not is_damage(error):
            raise
        raise ActionableError(
            f"nothing was published: {set_aside(settings, 'damaged', str(error).splitlines()[0])}", "run again"
        ) from error
    sync(temporary)
    failpoint("publish.written")
    # of a client that wrote into the old file and was killed: DuckDB would apply it to the new one
    _wal(target).unlink(missing_ok=True)
    temporary.replace(target)
    failpoint("publish.renamed")
    sync(target.parent)
    settings.state.mkdir(parents=True, exist_ok=True)
    note = settings.state / f"{NOTE_NAME}.tmp"
    note.write_text(json.dumps({"build_id": build_id, "stamp": _stamp(target)}))
    note.replace(settings.state / NOTE_NAME)
    return target


def _copy(settings: Settings, build_id: str, published_at: datetime, target: Path) -> None:
    """Write the marts, with all that readers need beside them, to a new database file."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set memory_limit = {text(settings.memory_limit)}")
        connection.execute(f"attach {text(settings.work_database)} as work (read_only)")
        connection.execute(f"attach {text(target)} as published (storage_version {text(STORAGE_VERSION)})")
        connection.execute("create schema published.marts")
        # as the build that was just run declares them
        marts = connection.execute("select distinct mart from work.landing.marts order by mart").fetchall()
        views = _find_views(connection)
        for (mart,) in marts:
            if mart in views:
                continue
            connection.execute(f"create table published.marts.{quote(mart)} as select * from work.marts.{quote(mart)}")
            failpoint("publish.copied")
        restatements.keep_restatements(connection, settings, build_id=build_id, published_at=published_at)
        connection.execute("use published")
        for definition in views.values():
            connection.execute(definition)
        _copy_comments(connection, views)
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
            [published_at, __version__, build_id],
        )
        for column, description in PUBLICATION.items():
            thing = (
                f"column published.marts.ops_publication.{column}"
                if column
                else "table published.marts.ops_publication"
            )
            connection.execute(f"comment on {thing} is {text(description)}")
        connection.execute("use memory")
        connection.execute("detach published")


def _past_list(macro: str, ledger: str) -> str:
    return f"""
        create macro published.marts.{macro}(moment) as table
        select address, recipient_domain, occurred_at as suppressed_at, acted_by, why, cause, event_id
        from marts.{ledger}
        where occurred_at <= cast(moment as timestamp)
        qualify {read_macros().is_last_change()} and action in ('added', 'imported')"""


def _find_views(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The views that read marts alone, as statements that make them there; others are published as tables."""
    views = connection.execute(
        "select view_name, sql from duckdb_views() where database_name = 'work' and schema_name = 'marts'"
    ).fetchall()
    return {
        name: definition.replace('"work".marts.', "marts.")
        for name, definition in views
        if set(re.findall(r'"work"\.(\w+)\.', definition)) == {"marts"}
    }


def _copy_comments(connection: duckdb.DuckDBPyConnection, views: Container[str]) -> None:
    """Give tables and columns the descriptions of their YAML, so that a client shows them."""
    described = "select mart, column_name, description from work.landing.marts where description <> ''"
    for mart, column, description in connection.execute(described).fetchall():
        table = f"published.marts.{quote(mart)}"
        kind = "view" if mart in views else "table"
        thing = f"column {table}.{quote(column)}" if column else f"{kind} {table}"
        connection.execute(f"comment on {thing} is {text(description)}")
