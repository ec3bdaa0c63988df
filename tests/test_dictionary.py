"""docs/data_dictionary.md is what the published database says of itself."""

from pathlib import Path

import duckdb
import pytest

from flows.dictionary import write_dictionary
from tests import marts
from tests.conftest import PROJECT, Warehouse

pytestmark = pytest.mark.xdist_group("warehouse")


def test_the_committed_dictionary_is_that_of_the_samples(warehouse: Warehouse) -> None:
    committed = (PROJECT / "docs" / "data_dictionary.md").read_text()
    assert write_dictionary(warehouse.database) == committed, "the marts or the samples changed: make docs"


def test_every_mart_and_column_is_described(warehouse: Warehouse) -> None:
    """A mart without a grain, or a column that says nothing, is found here and not by a reader."""
    columns = "select table_name, column_name from duckdb_columns() where schema_name = 'marts' and coalesce(comment, '') = ''"
    assert marts.read(warehouse.database, columns) == []
    page = write_dictionary(warehouse.database)
    for mart in marts.names(warehouse.database):
        [section] = [part for part in page.split("\n### ") if part.startswith(f"{mart}\n")]
        if mart != "dim_bounce_reasons":
            assert "Grain: " in section


def test_what_a_server_wrote_is_shown_as_it_is(tmp_path: Path) -> None:
    """Neither HTML nor Markdown in an example acts, nor ends its cell."""
    database = tmp_path / "hostile.duckdb"
    with duckdb.connect(database) as connection:
        connection.execute("create schema marts")
        connection.execute(
            "create table marts.ops_things as select '550 <img src=x>|`[a](b)`*b*' as reply, 7 as n, now() as landed_at"
        )
    row = next(line for line in write_dictionary(database).splitlines() if line.startswith("| `reply`"))
    example = row.split(" | ")[-1]
    assert "550 " in example
    assert not set("<>|`[]()*") & set(example.removesuffix(" |").removeprefix("<code>").removesuffix("</code>"))
    assert "| `landed_at` | timestamp with time zone |  | … |" in write_dictionary(database)
