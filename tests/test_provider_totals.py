"""The file in which a user keeps what providers say they counted."""

from pathlib import Path

import duckdb
import pytest

from flows.problems import WrongUsageError
from flows.provider_totals import show_provider_totals
from flows.settings import Settings

HEADER = "source_name,event_date,figure,provider_count\n"


def show(settings: Settings) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute("create schema landing")
        show_provider_totals(connection, settings)
        return connection.execute("from landing.provider_totals").fetchall()


def test_columns_in_any_order_and_no_file_at_all(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert show(settings) == []
    settings.provider_totals.write_text(
        "figure,source_name,provider_count,event_date\ndelivered_count,ses,12,2026-03-02\n"
    )
    [row] = show(settings)
    assert (row[0], str(row[1]), *row[2:]) == ("ses", "2026-03-02", "delivered_count", 12)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (HEADER + "ses,2026-03-02,delivered_count,many\n", "many"),
        (HEADER + "ses,2 March,delivered_count,1\n", "2 March"),
        (HEADER + "ses,2026-03-02,delivered,1\n", "ses,2026-03-02,delivered,1"),
        (HEADER + "pigeon,2026-03-02,delivered_count,1\n", "pigeon"),
        (HEADER + "ses,2026-03-02,delivered_count,-1\n", "-1"),
        (HEADER + "ses,2026-03-02,delivered_count,\n", "ses,2026-03-02,delivered_count"),
        ("source,day\nses,2026-03-02\n", "source_name"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, content: str, named: str) -> None:
    settings = Settings(home=tmp_path)
    settings.provider_totals.write_text(content)
    with pytest.raises(WrongUsageError, match=r"provider_totals[.]csv is not as it must be") as error:
        show(settings)
    assert named in error.value.cause
    assert "its header is source_name,event_date,figure,provider_count" in error.value.remedy
