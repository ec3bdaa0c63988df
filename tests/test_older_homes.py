"""A home that an older version landed: its files have the columns that the sources had then."""

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from flows.batch import show_files
from flows.retained import TABLES, Retained, select_retained


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


def test_retained_counts_of_then(tmp_path: Path) -> None:
    """They have no provider; the models take it from the recipient's domain."""
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select date '2026-03-02' as event_date, 'gmail.com' as recipient_domain, 3::bigint as bounce_count)"
            f" to '{tmp_path}/bounce_counts.parquet' (format parquet)"
        )
        rows = connection.execute(
            select_retained(Retained(1, 0, datetime(2026, 3, 5), tmp_path), "bounce_counts")
        ).to_arrow_table()
    assert rows.column_names == list(TABLES["bounce_counts"])
    [row] = rows.to_pylist()
    assert (row["recipient_domain"], row["provider"], row["bounce_count"]) == ("gmail.com", None, 3)


def test_retained_folders_of_then_lack_a_table(tmp_path: Path) -> None:
    """Older passes kept no delivery times; any other table that is not there was lost."""
    retained = Retained(1, 0, datetime(2026, 3, 5), tmp_path)
    with duckdb.connect() as connection:
        times = connection.execute(select_retained(retained, "delivery_times"))
        assert [column[0] for column in times.description] == list(TABLES["delivery_times"])
        assert times.fetchall() == []
    with pytest.raises(FileNotFoundError):
        select_retained(retained, "profiles")
