"""`work.duckdb` and `marts.duckdb` are one database in two files, so that publishing may copy the one with the marts.

DuckDB commits to one file at a time, and a file may be lost, or put back from a backup, without the other. So both hold
a token, which each build changes when it begins and when it ends: first the new one is announced in `work.duckdb`, then
written into `marts.duckdb`, then confirmed in `work.duckdb`. They are a pair where the marts have the token that was
confirmed or announced; so they are wherever a run is killed. What such a run leaves besides is the build's to mend.
"""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import duckdb

from flows.failpoints import failpoint
from flows.settings import Settings
from flows.sql import text

STORAGE_VERSION = "v1.3.0"
"""Of `marts.duckdb`, and so of the published file: the oldest DuckDB that can read it. See profiles.yml too."""

CREATE_TOKENS = """
    create table if not exists landing.pair as
    select cast(null as varchar) as confirmed, cast(null as varchar) as announced"""


def attach_marts(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Attach `marts.duckdb` as `marts`; makes it where it is not there."""
    connection.execute(
        f"attach if not exists {text(settings.marts_database)} as marts (storage_version {text(STORAGE_VERSION)})"
    )


def is_pair(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the marts attached, if there are any, are those that the work database of the connection goes with."""
    row = None
    if _has_table(connection, "work", "landing", "pair"):
        row = connection.execute("select confirmed, announced from landing.pair").fetchone()
    confirmed, announced = row or (None, None)
    written = read_token(connection)
    return confirmed is None if written is None else written in (confirmed, announced)


def read_token(connection: duckdb.DuckDBPyConnection) -> str | None:
    """The token of the marts attached; None where there are none, or a run was killed when it had just made them."""
    if not _has_table(connection, "marts", "main", "pair"):
        return None
    row = connection.execute("select token from marts.main.pair").fetchone()
    return str(row[0]) if row else None


def announce(connection: duckdb.DuckDBPyConnection) -> str:
    """Write a new token into the work database; that of the marts as they are counts until they have the new one."""
    token = str(uuid4())
    connection.execute("update landing.pair set confirmed = ?, announced = ?", [read_token(connection), token])
    failpoint("pair.announced")
    return token


def write_token(connection: duckdb.DuckDBPyConnection, token: str) -> None:
    """Give the marts the token that was announced."""
    connection.execute("begin")
    connection.execute("create or replace table marts.main.pair as select cast(? as varchar) as token", [token])
    connection.execute("commit")
    failpoint("pair.written")


def confirm(connection: duckdb.DuckDBPyConnection, token: str) -> None:
    """Take back the announcement: the marts have the token."""
    connection.execute("update landing.pair set confirmed = ?, announced = null", [token])


def checkpoint(connection: duckdb.DuckDBPyConnection) -> None:
    """Have what was committed to either in its file, and no log beside it: of both at once, as most of each is one
    processor's work.
    """

    def checkpoint_one(database: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"checkpoint {database}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(checkpoint_one, ("work", "marts")))


def _has_table(connection: duckdb.DuckDBPyConnection, database: str, schema: str, table: str) -> bool:
    return (
        connection.execute(
            "select 1 from duckdb_tables() where database_name = ? and schema_name = ? and table_name = ?",
            [database, schema, table],
        ).fetchone()
        is not None
    )
