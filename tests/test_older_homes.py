"""A home that an older version landed: its files have the columns that the sources had then."""

from pathlib import Path

import duckdb

from flows.batch import show_files


def test_columns_of_then_and_of_now(tmp_path: Path) -> None:
    """One file lacks a column and has one that is gone; the other, a pack, is of today."""
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    with duckdb.connect() as connection:
        connection.execute("create schema landing")
        connection.execute(
            f"copy (select 'd1' as file_digest, 7 as record_number, 'x' as gone) to '{old}' (format parquet)"
        )
        connection.execute(
            "copy (select unnest(['d2', 'd3']) as file_digest, 1::bigint as record_number, 'true' as fresh)"
            f" to '{new}' (format parquet)"
        )
        columns = {"fresh": "VARCHAR", "file_digest": "VARCHAR", "record_number": "BIGINT"}
        for files, expected in (
            ({old: None}, [(None, "d1", 7)]),
            ({old: None, new: ["d3"]}, [(None, "d1", 7), ("true", "d3", 1)]),
            ({}, []),
        ):
            show_files(connection, "postmark", columns, files)
            assert connection.execute("select * from landing.postmark order by file_digest").fetchall() == expected
            kinds = connection.execute("select column_type from (describe landing.postmark)").fetchall()
            assert kinds == [("VARCHAR",), ("VARCHAR",), ("BIGINT",)]
