"""Publish the tested marts: copy their file, add what readers need beside them, and swap the copy in by rename, so that
readers see one whole state.

A copy costs by the whole history, and a day by what it changed: so a large file that was published before the last is
kept, and the next copy is written over it, by the blocks that differ, if nobody has it open any more.
"""

import json
import re
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from flows import __version__, restatements, rules
from flows.copying import copy_changes, copy_file, is_held
from flows.dbt_macros import read_macros
from flows.dbt_project import find_project_directory
from flows.failpoints import failpoint
from flows.landing.loads import sync
from flows.notes import stamp_of, write_note
from flows.pair import STORAGE_VERSION
from flows.problems import ActionableError
from flows.settings import Settings
from flows.sql import quote, text
from flows.work import WorkDamagedError, is_damage, open_work, set_aside
from flows.work_state import find_build_id

FREE_SHARE = 0.5
"""Of the blocks of `marts.duckdb`: where more of them are free, as those of tables that a build made anew are, the file
is written anew, so that the published one is at most about twice what it need be. Builds of one day leave a tenth."""

FORMER_BYTES = 1 << 30
"""A published file that is smaller is copied in about a second, and the one before it is not kept."""

ROOM_SHARE = 0.5
"""What must be free for the one before to be kept, as a part of it: for what the next run adds. To publish takes no
more room with it than without, as the next copy takes its place."""

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
    stamp = stamp_of(settings.published_database)
    if stamp is None:
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


def publish(settings: Settings) -> Path:
    """Copy the marts of the last finished build to a new file and rename it to `bouncehouse.duckdb`.

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
        _settle(settings)
        _copy_marts(settings, temporary)
        failpoint("publish.copied")
        _complete(settings, build_id, published_at, temporary)
    except (duckdb.Error, WorkDamagedError, OSError) as error:
        _remove(temporary)  # where the disk is full, it is what fills it
        if isinstance(error, OSError) or (isinstance(error, duckdb.Error) and not is_damage(error)):
            raise
        raise ActionableError(
            f"nothing was published: {set_aside(settings, 'damaged', str(error).splitlines()[0])}", "run again"
        ) from error
    sync(temporary)
    failpoint("publish.written")
    # of a client that wrote into the old file and was killed: DuckDB would apply it to the new one
    _wal(target).unlink(missing_ok=True)
    if _is_worth_keeping(target) and _has_lost_nothing(settings, build_id):
        with suppress(OSError):  # no hard links here: the next copy is a whole one
            settings.former_database.hardlink_to(target)
            failpoint("publish.kept")
    temporary.replace(target)
    failpoint("publish.renamed")
    sync(target.parent)
    write_note(settings.state / NOTE_NAME, {"build_id": build_id, "stamp": stamp_of(target)})
    return target


def _settle(settings: Settings) -> None:
    """Have all that was committed to the marts in their file, and no more free blocks in it than may be published."""
    with open_work(settings) as connection:
        connection.execute("checkpoint marts")
        blocks = connection.execute(
            "select free_blocks, total_blocks from pragma_database_size() where database_name = 'marts'"
        ).fetchone()
    assert blocks
    if blocks[0] > FREE_SHARE * blocks[1]:
        _compact(settings)


def _compact(settings: Settings) -> None:
    """Write `marts.duckdb` anew and rename it: the same tables, views and token, without free blocks."""
    fresh = settings.marts_database.with_name(f".{settings.marts_database.name}.new")
    _remove(fresh)
    with duckdb.connect() as connection:
        connection.execute(f"set memory_limit = {text(settings.memory_limit)}")
        connection.execute(f"attach {text(settings.marts_database)} as old (read_only)")
        connection.execute(f"attach {text(fresh)} as fresh (storage_version {text(STORAGE_VERSION)})")
        connection.execute("copy from database old to fresh")
        connection.execute("detach fresh")
    sync(fresh)
    failpoint("publish.compacted")
    fresh.replace(settings.marts_database)
    sync(fresh.parent)


def _copy_marts(settings: Settings, temporary: Path) -> None:
    """Make a new file the same as `marts.duckdb`, out of the one that was published before the last where it is kept.

    It has another name from its first change on, so that what a killed run leaves of it is no file to go on from.
    """
    former, target = settings.former_database, settings.published_database
    # a run that was killed just before the swap leaves the file that is published under both names
    is_published = former.exists() and target.exists() and former.samefile(target)
    if former.exists() and not is_published and not is_held(former):
        former.rename(temporary)
        copy_changes(settings.marts_database, temporary)
    else:
        former.unlink(missing_ok=True)
        copy_file(settings.marts_database, temporary)


def _is_worth_keeping(database: Path) -> bool:
    """Whether a published file is large, and there is room for it on its disk."""
    if not database.exists():
        return False
    size = database.stat().st_size
    return size >= FORMER_BYTES and shutil.disk_usage(database.parent).free > ROOM_SHARE * size


def _has_lost_nothing(settings: Settings, build_id: str) -> bool:
    """Whether all that the published file holds may stay: since then nothing was erased, nor dropped by retention.

    An erasure removes the work database with all its builds; a pass of retention is told by the number of what it kept.
    """
    published = published_build_id(settings)
    with open_work(settings) as connection:
        row = connection.execute(
            "select count(*) = 2 and count(distinct retained) = 1 from landing.builds where build_id in (?, ?)",
            [published, build_id],
        ).fetchone()
    return bool(row and row[0])


def _complete(settings: Settings, build_id: str, published_at: datetime, target: Path) -> None:
    """Make of a copy of the marts what readers get."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set memory_limit = {text(settings.memory_limit)}")
        connection.execute(f"attach {text(settings.work_database)} as work (read_only)")
        connection.execute(f"attach {text(settings.marts_database)} as marts (read_only)")
        connection.execute(f"attach {text(target)} as published")
        row = connection.execute(
            "select is_tested_whole from work.landing.builds where build_id = ?", [build_id]
        ).fetchone()
        if row and row[0]:
            _read_all(connection)
        views = _find_views(connection)
        _drop_undeclared(connection)
        for view, definition in views.items():
            connection.execute(f"drop view published.marts.{quote(view)}")
            if definition is None:
                connection.execute(f"create table published.marts.{quote(view)} as from marts.marts.{quote(view)}")
                failpoint("publish.made")
        restatements.keep_restatements(connection, settings, build_id=build_id, published_at=published_at)
        connection.execute("detach marts")  # as the name is the schema's too, the views could mean either
        connection.execute("use published")
        connection.execute("begin")
        for definition in views.values():
            if definition is not None:
                connection.execute(definition)
        _copy_comments(connection)
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
        connection.execute("commit")
        connection.execute("use memory")
        connection.execute("detach published")


def _past_list(macro: str, ledger: str) -> str:
    return f"""
        create macro published.marts.{macro}(moment) as table
        select address, recipient_domain, occurred_at as suppressed_at, acted_by, why, cause, event_id
        from marts.{ledger}
        where occurred_at <= cast(moment as timestamp)
        qualify {read_macros().is_last_change()} and action in ('added', 'imported')"""


def _read_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every value once, as a copy of a damaged file is a copy: DuckDB compares each block with its checksum."""
    tables = "select schema_name, table_name from duckdb_tables() where database_name = 'published'"
    for schema, table in connection.execute(tables).fetchall():
        connection.execute(
            f"select bit_xor(hash(each)) from published.{quote(schema)}.{quote(table)} as each"
        ).fetchall()


def _find_views(connection: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    """The marts that are views: of those that read marts alone the statement that makes them wherever the file lies.

    Others read what is not published, and are published as tables.
    """
    views = connection.execute(
        """select view_name, sql from duckdb_views()
        where database_name = 'marts' and schema_name = 'marts'
            and view_name in (select mart from work.landing.marts)"""
    ).fetchall()
    return {
        name: None if re.search(r'\bwork"?\.', definition) else definition.replace("marts.marts.", "marts.")
        for name, definition in views
    }


def _drop_undeclared(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop what is no mart that the last build declares: the pair's token, and what a hand left there."""
    others = """
        select 'schema' as kind, schema_name as name, '' as name_in_schema
        from duckdb_schemas()
        where database_name = 'published' and not internal and schema_name <> 'marts'
        union all
        select 'table', schema_name, table_name
        from duckdb_tables()
        where database_name = 'published' and schema_name in ('main', 'marts')
        union all
        select 'view', schema_name, view_name
        from duckdb_views()
        where database_name = 'published' and schema_name in ('main', 'marts') and not internal
    """
    declared = {("marts", mart) for (mart,) in connection.execute("select mart from work.landing.marts").fetchall()}
    for kind, *names in connection.execute(others).fetchall():
        if tuple(names) not in declared:
            thing = ".".join(quote(name) for name in names if name)
            connection.execute(f"drop {kind} published.{thing}{' cascade' if kind == 'schema' else ''}")


def _copy_comments(connection: duckdb.DuckDBPyConnection) -> None:
    """Give tables and columns the descriptions of their YAML, so that a client shows them."""
    views = {
        name
        for (name,) in connection.execute(
            "select view_name from duckdb_views() where database_name = 'published' and schema_name = 'marts'"
        ).fetchall()
    }
    described = "select mart, column_name, description from work.landing.marts where description <> ''"
    for mart, column, description in connection.execute(described).fetchall():
        table = f"published.marts.{quote(mart)}"
        kind = "view" if mart in views else "table"
        thing = f"column {table}.{quote(column)}" if column else f"{kind} {table}"
        connection.execute(f"comment on {thing} is {text(description)}")
