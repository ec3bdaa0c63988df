"""The private database `work.duckdb`: opened, and set aside where it cannot be used, as all of it can be built again.

Damage that shows at once (a cut file, a header that was written over) is found here, damage inside by the build.
"""

import re
import shutil
import time
from pathlib import Path

import duckdb

from flows.problems import ActionableError
from flows.settings import Settings

FORMAT = 1
"""Of the tables in the schema `landing`, which the build keeps its own memory in. To be counted up when an earlier
bouncehouse could not use them; the other tables are told by the digest of what makes them (`work_state.Versions`)."""

LOCK_SECONDS = 20
"""So long another process may have the file: the dbt of a run that was just killed, which ends with it."""

DAMAGE = re.compile(
    r"not a valid DuckDB database file|Corrupt database file|(?s:Could not read enough bytes from file.*work\.duckdb)"
    r"|Failed to load metadata pointer|(?:INTERNAL|Serialization) Error|replaying WAL"
)
"""What DuckDB 1.5 says of files that were cut or written over."""
NEWER = re.compile(r"version number \d+, but we can only read|newer version of DuckDB|storage version")


class WorkDamagedError(Exception):
    """The database was found to be damaged while it was used."""


def prepare_work(settings: Settings) -> list[str]:
    """Set aside a database that this bouncehouse cannot use; gives a line for each such event, to be told."""
    path = settings.work_database
    if not path.exists():
        _wal(path).unlink(missing_ok=True)  # of a database that somebody removed: it belongs to no other
        return []
    try:
        with open_work(settings) as connection:
            found = read_format(connection)
    except (WorkDamagedError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and not is_damage(error):
            raise
        is_newer = NEWER.search(str(error)) is not None
        return [set_aside(settings, "newer" if is_newer else "damaged", _first_line(error))]
    # where a killed dbt put what did not fit into memory
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
    if found > FORMAT:
        return [set_aside(settings, "newer", f"its format is {found}, and the newest known here is {FORMAT}")]
    return []


def open_work(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Connect to the database; waits for a process that is about to end. `WorkDamagedError` where it cannot be read."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return duckdb.connect(settings.work_database)
        except duckdb.Error as error:
            if "Could not set lock" in str(error):
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                raise ActionableError(
                    f"{settings.work_database} is open in another program: {_first_line(error)}",
                    "it is private to bouncehouse: close it there, then run again",
                ) from error
            if is_damage(error) or NEWER.search(str(error)):
                raise WorkDamagedError(_first_line(error)) from error
            raise


def is_damage(error: duckdb.Error | str) -> bool:
    """Whether an error, or what dbt says of one, tells of a damaged database."""
    return not isinstance(error, duckdb.OutOfMemoryException) and DAMAGE.search(str(error)) is not None


def set_aside(settings: Settings, what: str, why: str) -> str:
    """Give the database another name, in place of one that was set aside earlier, and say so."""
    path = settings.work_database
    aside = path.with_name(f"{path.stem}.{what}{path.suffix}")
    for name, kept in ((path, aside), (_wal(path), _wal(aside))):
        kept.unlink(missing_ok=True)
        if name.exists():
            name.rename(kept)
    reason = "of a newer version" if what == "newer" else "damaged"
    return (
        f"{path.name} is {reason} ({why}); it is now called {aside.name} and may be removed,"
        " and everything is built again from landing"
    )


def read_format(connection: duckdb.DuckDBPyConnection) -> int:
    """The format that the database is marked with; 0 for one from before there were marks."""
    row = connection.execute(
        "select count(*) from duckdb_tables() where schema_name = 'landing' and table_name = 'format'"
    ).fetchone()
    if not row or not row[0]:
        return 0
    row = connection.execute("select max(format) from landing.format").fetchone()
    return int(row[0] or 0) if row else 0


def mark_format(connection: duckdb.DuckDBPyConnection) -> None:
    """Mark the database with the format of now."""
    connection.execute("create table if not exists landing.format (format integer)")
    connection.execute("delete from landing.format")
    connection.execute("insert into landing.format values (?)", [FORMAT])


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
