"""What the tests read of a published warehouse, and how they compare two."""

from pathlib import Path

import duckdb

# The order in which files came may show in these, and in nothing else.
PROVENANCE = {
    "source_file",
    "source_record",
    "file_digest",
    "record_number",
    "record_part",
    "landed_at",
    "last_landed_at",
}
# These speak of files and records, not of events: as many copies as were read, so many rows; or of publications.
ABOUT_FILES = {
    "ops_loads", "ops_rejects", "ops_ignored", "ops_sources", "ops_reconciliation", "ops_publication", "ops_restatements",
}  # fmt: skip


def read(database: Path, query: str) -> list[tuple]:
    with duckdb.connect(database, read_only=True) as connection:
        return connection.execute(query).fetchall()


def read_parquet(folder: Path, query: str) -> list[tuple]:
    """`query` has no `from`: that is the Parquet files of the folder."""
    with duckdb.connect() as connection:
        return connection.execute(f"{query} from read_parquet('{folder}/*.parquet')").fetchall()


def names(database: Path) -> list[str]:
    rows = read(database, "select table_name from information_schema.tables where table_schema = 'marts' order by 1")
    return [row[0] for row in rows]


def differences(expected: Path, found: Path, but: set[str] | None = None) -> dict[str, list[tuple]]:
    """Rows that only one of the two has, by mart, of all marts that speak of events; empty where they are the same.

    `but` names the columns that may differ, of all marts then.
    """
    different = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{expected}' as expected (read_only)")
        connection.execute(f"attach '{found}' as found (read_only)")
        for mart in sorted(set(names(expected)) - (ABOUT_FILES if but is None else set())):
            columns = connection.execute(f"describe expected.marts.{mart}").fetchall()
            chosen = ", ".join(
                f'"{column[0]}"' for column in columns if column[0] not in (PROVENANCE if but is None else but)
            )
            rows = connection.execute(
                f"""(select 'only expected', * from (
                        select {chosen} from expected.marts.{mart} except all select {chosen} from found.marts.{mart}
                    ) limit 3)
                    union all
                    (select 'only found', * from (
                        select {chosen} from found.marts.{mart} except all select {chosen} from expected.marts.{mart}
                    ) limit 3)"""
            ).fetchall()
            if rows:
                different[mart] = rows
    return different
