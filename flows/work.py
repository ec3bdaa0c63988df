"""The private databases `work.duckdb` and `marts.duckdb`: opened, and set aside where they cannot be used, as all of
them can be built again.

Damage that shows at once (a cut file, a header that was written over) is found here, damage inside by the build.
"""

import re
import shutil
import time
from pathlib import Path

import duckdb

from flows.copying import HEADER_BYTES
from flows.pair import attach_marts, is_pair
from flows.problems import ActionableError
from flows.settings import Settings

FORMAT = 2
"""Of the tables in the schema `landing`, which the build keeps its own memory in, and of the files. To be counted up
when an earlier bouncehouse could not use them; the other tables are told by the digest of what makes them
(`work_state.Versions`). Until 1 the marts were in `work.duckdb`."""

WORK_STORAGE_VERSION = "latest"
"""Of a `work.duckdb` that is made: nobody else reads it, and newer ones are smaller."""

LOCK_SECONDS = 20
"""So long another process may have the file: the dbt of a run that was just killed, which ends with it."""

DAMAGE = re.compile(
    r"not a valid DuckDB database file|Corrupt database file"
    r"|(?s:Could not read enough bytes from file.*(?:work|marts)\.duckdb)"
    r"|Failed to load metadata pointer|(?:INTERNAL|Serialization) Error|replaying WAL"
)
"""What DuckDB 1.5 says of files that were cut or written over."""
NEWER = re.compile(r"version number \d+, but we can only read|newer version of DuckDB|storage version")


REASONS = {
    "damaged": "are damaged",
    "newer": "are of a newer version",
    "older": "are of an older version",
    "unmatched": "do not belong together",
}
"""Why databases are set aside, which their new names tell too."""


class WorkDamagedError(Exception):
    """A database was found to be damaged while it was used."""


def prepare_work(settings: Settings) -> list[str]:
    """Set aside databases that this bouncehouse cannot use; gives a line for each such event, to be told."""
    if not settings.work_database.exists():
        remove_work(settings)  # what belongs to one that somebody removed belongs to no other
        return []
    try:
        with open_work(settings) as connection:
            check_length(connection, settings)
            found, is_matched = read_format(connection), is_pair(connection)
    except (WorkDamagedError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and not is_damage(error):
            raise
        is_newer = NEWER.search(str(error)) is not None
        return [set_aside(settings, "newer" if is_newer else "damaged", _first_line(error))]
    for path in (settings.work_database, settings.marts_database):
        # where a killed dbt put what did not fit into memory
        shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
    if found != FORMAT:
        what = "newer" if found > FORMAT else "older"
        return [set_aside(settings, what, f"the format is {found}, and {FORMAT} is used here")]
    if not is_matched:
        return [set_aside(settings, "unmatched", "one is missing, or was put back from another time")]
    return []


def open_work(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Connect to the work database, with the marts, if there are any, attached as `marts`; waits for a process that is
    about to end. `WorkDamagedError` where one of them cannot be read.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        path = settings.work_database
        try:
            connection = duckdb.connect(path, config={"storage_compatibility_version": WORK_STORAGE_VERSION})
            if settings.marts_database.exists():
                path = settings.marts_database
                try:
                    attach_marts(connection, settings)
                except duckdb.Error:
                    connection.close()
                    raise
            return connection
        except duckdb.Error as error:
            if "Could not set lock" in str(error):
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                raise ActionableError(
                    f"{path} is open in another program: {_first_line(error)}",
                    "it is private to bouncehouse: close it there, then run again",
                ) from error
            if is_damage(error) or NEWER.search(str(error)):
                raise WorkDamagedError(f"{path.name}: {_first_line(error)}") from error
            raise


def check_length(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """`WorkDamagedError` where a file is shorter than what is in use of it: DuckDB looks at that only as it reads."""
    for path in (settings.work_database, settings.marts_database):
        row = connection.execute(
            "select used_blocks * block_size from pragma_database_size() where database_name = ?", [path.stem]
        ).fetchone()
        if row and path.stat().st_size < HEADER_BYTES + row[0]:
            raise WorkDamagedError(f"{path.name}: its end is missing")


def is_damage(error: duckdb.Error | str) -> bool:
    """Whether an error, or what dbt says of one, tells of a damaged database."""
    return not isinstance(error, duckdb.OutOfMemoryException) and DAMAGE.search(str(error)) is not None


def set_aside(settings: Settings, what: str, why: str) -> str:
    """Give both databases another name, in place of those that were set aside earlier, and say so.

    The work database goes first: marts without one are made anew, whoever is killed between.
    """
    names = []
    for path in (settings.work_database, settings.marts_database):
        aside = path.with_name(f"{path.stem}.{what}{path.suffix}")
        for name, kept in ((path, aside), (_wal(path), _wal(aside))):
            kept.unlink(missing_ok=True)
            if name.exists():
                name.rename(kept)
        if aside.exists():
            names.append(aside.name)
    both = f"{settings.work_database.name} and {settings.marts_database.name}"
    return (
        f"{both} {REASONS[what]} ({why}); what there was is now called {' and '.join(names)} and may be removed, and"
        " everything is built again from landing"
    )


def remove_work(settings: Settings) -> None:
    """Remove the databases, and what they have not yet written into their files; the next build makes them anew."""
    for path in (settings.work_database, settings.marts_database):
        for each in (path, _wal(path)):
            each.unlink(missing_ok=True)


def read_format(connection: duckdb.DuckDBPyConnection) -> int:
    """The format that the database is marked with; 0 for one from before there were marks."""
    rows = connection.execute(
        "select table_name from duckdb_tables() where database_name = 'work' and schema_name = 'landing'"
    ).fetchall()
    if not rows:
        return FORMAT  # nothing is in it yet
    if ("format",) not in rows:
        return 0
    row = connection.execute("select max(format) from landing.format").fetchone()
    return int(row[0] or 0) if row else 0


def is_usable(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether `prepare_work` would leave the databases where they are."""
    return read_format(connection) == FORMAT and is_pair(connection)


def mark_format(connection: duckdb.DuckDBPyConnection) -> None:
    """Mark a database that has no mark with the format of now."""
    connection.execute(f"create table if not exists landing.format as select cast({FORMAT} as integer) as format")


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
