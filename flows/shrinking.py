"""The private databases written anew without what retention dropped, so that nothing is left of it in free blocks.

Rows lie as they lay: a build passes over the row groups of days that it does not touch, so a row group of many days
costs each build that comes after. A join gives rows in any order, so only those are joined that can be dropped, the
ones before the cutoff, and are put in order by where they lay (`rowid`); all others are copied as they are.
"""

from dataclasses import dataclass
from datetime import date

import duckdb

from flows.failpoints import failpoint
from flows.landing import loads
from flows.pair import STORAGE_VERSION, announce, confirm, write_token
from flows.retained import DROPPED_GROUPS, Retained, select_retained
from flows.settings import Settings
from flows.sql import text
from flows.work import WORK_STORAGE_VERSION, open_work, remove_work
from flows.work_state import create_state, find_work_state

LINKS = "intermediate.int_report_links__found"
LINKS_BEFORE = "intermediate.int_report_links__before"

WHOLE = (
    "intermediate.int_actions__collected",
    "intermediate.int_opt_outs__collected",
    "intermediate.int_files__accounted",
    "intermediate.int_ignored_records__counted",
    "intermediate.int_bounce_texts__judged",
    "intermediate.int_bounce_texts__daily",
    "marts.rpt_bounces_daily",
    "intermediate.int_delivery_events__counted",
    "marts.rpt_delivery_daily",
    "marts.rpt_delivery_times_daily",
)
"""Tables that lose nothing: they name nobody, or what they say of somebody bears on a list."""

OF_OPEN_GROUPS = "not exists (from dropped_groups where dropped_groups.message_group_id = kept.message_group_id)"
OF_OPEN_REPORTS = (
    "not exists (from dropped_groups where dropped_groups.message_group_id = kept.report_message_group_id)"
)
OF_KEPT_FILES = "not exists (from dropped_files where dropped_files.file_digest = kept.file_digest)"


@dataclass(frozen=True)
class Shrunk:
    """A table that is kept from build to build, and loses rows.

    `stays` is a condition on its row `kept`; `day` a column of dates by which rows lie: of the cutoff and later
    (nearly) all stay.
    """

    name: str
    stays: str = OF_OPEN_GROUPS
    day: str | None = None


SHRUNK = (
    Shrunk("intermediate.int_message_keys__logged", day="event_date"),
    Shrunk("intermediate.int_staged_events__repeated"),
    Shrunk("intermediate.int_postfix__queue_facts", day="fact_date"),
    Shrunk("intermediate.int_exim__message_facts", day="fact_date"),
    Shrunk("intermediate.int_complaints__collected"),
    Shrunk("intermediate.int_suppression_evidence__collected"),
    # a report goes with the message that it speaks of
    Shrunk(LINKS, stays=OF_OPEN_REPORTS),
    Shrunk("marts.fct_delivery_events", day="event_date"),
    Shrunk("marts.fct_messages", day="first_event_date"),
    Shrunk(
        "intermediate.int_unclassified_bounces__collected",
        stays="event_id in (select event_id from marts.marts.fct_delivery_events)",
    ),
    Shrunk("intermediate.int_rejects__collected", stays=OF_KEPT_FILES),
    # its groups are numbers that two may share, and none may lose a day: those of a file that stays do not. A file that
    # goes may have copies of what was said later, too
    Shrunk("intermediate.int_group_days__recorded", stays=OF_KEPT_FILES),
    # of a dropped file not even the copies and the records that are no event
    Shrunk(
        "intermediate.int_staged_events__collected", stays=f"{OF_KEPT_FILES} and {OF_OPEN_GROUPS}", day="event_date"
    ),
)
"""Those that lose what was dropped, has no event or no file any more. All others are made anew by every build."""


def shrink_work(settings: Settings, retained: Retained) -> None:
    """Write the private databases anew without what was dropped; they are replaced by rename.

    Those that are not as the pass found them are removed, and the next build makes them from landing. Killed between
    the two renames, it is done again from new marts and the old rest, which gives the same.
    """
    databases = (settings.marts_database, settings.work_database)
    fresh_marts, fresh = (path.with_name(f".{path.name}.new") for path in databases)
    for path in (fresh_marts, fresh):
        for leftover in (path, path.with_name(path.name + ".wal")):
            leftover.unlink(missing_ok=True)
    if not settings.work_database.exists():
        return
    state = find_work_state(settings)
    if not state.is_usable or state.retained == retained.number:
        return
    if state.retained != retained.previous or not state.is_settled or state.versions is None:
        remove_work(settings)
        return
    with open_work(settings) as connection:
        token = announce(connection)
        # nothing may be left in a log, which would be applied to the new file
        connection.execute("checkpoint work")
        connection.execute("checkpoint marts")
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set memory_limit = {text(settings.memory_limit)}")
        connection.execute(f"set temp_directory = {text(fresh.with_name(fresh.name + '.tmp'))}")
        connection.execute(f"attach {text(settings.work_database)} as old_work (read_only)")
        connection.execute(f"attach {text(settings.marts_database)} as old_marts (read_only)")
        connection.execute(f"attach {text(fresh)} as work (storage_version {text(WORK_STORAGE_VERSION)})")
        connection.execute(f"attach {text(fresh_marts)} as marts (storage_version {text(STORAGE_VERSION)})")
        connection.execute(f"create table dropped_groups as from {text(retained.path(DROPPED_GROUPS))}")
        connection.execute(f"create table dropped_files as {select_retained(retained, 'files')}")
        connection.execute("create schema work.intermediate; create schema marts.marts")
        for table in WHOLE:
            copy_table(connection, table)
        for shrunk in SHRUNK:
            shrink_table(connection, shrunk, retained.cutoff.date())
        # by no other links was any message judged (`can_resume`, flows/work_state.py)
        connection.execute(f"create table work.{LINKS_BEFORE} as from work.{LINKS} where false")
        connection.execute("use work")
        create_state(connection)
        for table in ("built_files", "builds", "marts"):
            connection.execute(f"insert into work.landing.{table} by name select * from old_work.landing.{table}")
        connection.execute("update work.landing.work_state set retained = ?, is_settled = true", [retained.number])
        write_token(connection, token)
        confirm(connection, token)
        connection.execute("use memory")
        connection.execute("detach work; detach marts")
    for new, path in zip((fresh_marts, fresh), databases, strict=True):
        loads.sync(new)
        new.chmod(path.stat().st_mode)
        new.replace(path)
        loads.sync(settings.root)
        failpoint("retention.replaced")


def shrink_table(connection: duckdb.DuckDBPyConnection, shrunk: Shrunk, cutoff: date) -> None:
    """Copy the rows that stay."""
    stay = f"{shrunk.stays} order by rowid"
    if shrunk.day is None:
        copy_table(connection, shrunk.name, stay)
        return
    begin = f"date {text(find_begin(connection, shrunk, cutoff).isoformat())}"
    # each condition lets the engine pass over row groups
    copy_table(connection, shrunk.name, f"{shrunk.day} < {begin} and {stay}")
    copy_table(connection, shrunk.name, f"{shrunk.day} is null and {stay}", is_more=True)
    copy_table(connection, shrunk.name, f"{shrunk.day} >= {begin}", is_more=True)


def find_begin(connection: duckdb.DuckDBPyConnection, shrunk: Shrunk, cutoff: date) -> date:
    """The day from which on all rows stay: the cutoff, but where a copy that does not count says a later time."""
    row = connection.execute(
        f"""select max({shrunk.day}) + 1
        from old_{database_of(shrunk.name)}.{shrunk.name} as kept
        where {shrunk.day} >= date {text(cutoff.isoformat())} and not ({shrunk.stays})"""
    ).fetchone()
    return row[0] if row and row[0] else cutoff


def database_of(table: str) -> str:
    """Which of the two files has a table; as it was before the pass, by this name behind `old_`."""
    return "marts" if table.startswith("marts.") else "work"


def copy_table(
    connection: duckdb.DuckDBPyConnection, table: str, condition: str = "true", *, is_more: bool = False
) -> None:
    """Copy the rows `kept` of a table of `old_work` or `old_marts`; `is_more` adds them to what was copied before."""
    place = f"{database_of(table)}.{table}"
    target = f"insert into {place}" if is_more else f"create table {place} as"
    connection.execute(f"{target} from old_{place} as kept where {condition}")
