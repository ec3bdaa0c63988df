"""What a publication changed of days that were published before is written down, once, whatever dies in between."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from flows.restatements import DELIVERY_FIGURES, count_restated, keep_restatements
from flows.settings import Settings

FIRST, SECOND, LAST = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
Delivered = dict[tuple[date, str | None], int]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def publish(
    settings: Settings, build_id: str, delivered: Delivered, *, hard: int = 0, is_killed: bool = False
) -> list[tuple]:
    """Publish marts with so many deliveries a day and campaign (and hard bounces on the first day), or die before the swap."""
    new = settings.root / "new.duckdb"
    new.unlink(missing_ok=True)
    published_at = datetime(2026, 4, 1, 6, int(build_id[1:]))
    with duckdb.connect() as connection:
        connection.execute(f"attach '{new}' as published")
        connection.execute("create schema published.marts")
        zeros = ", ".join(f"0 as {figure}" for figure in DELIVERY_FIGURES if figure != "delivered_count")
        connection.execute(
            f"""create table published.marts.rpt_delivery_daily as
            select null::date as event_date, 'ses' as source_name, ''::varchar as campaign_id, 0 as delivered_count, {zeros} limit 0"""
        )
        for (day, campaign), count in delivered.items():
            connection.execute(
                "insert into published.marts.rpt_delivery_daily by name"
                f" select ?::date as event_date, 'ses' as source_name, ?::varchar as campaign_id, ? as delivered_count, {zeros}",
                [day, campaign, count],
            )
        connection.execute(
            """create table published.marts.rpt_bounces_daily as
            select ?::date as event_date, 'ses' as source_name, null::varchar as campaign_id, 'hard' as bounce_class, ? as bounce_count
            where ? > 0""",
            [FIRST, hard, hard],
        )
        connection.execute(
            """create table published.marts.rpt_undeliveries_daily as
            select null::date as undelivered_date, 'ses' as source_name, ''::varchar as campaign_id, 0 as undelivery_count limit 0"""
        )
        connection.execute(
            """create table published.marts.ops_sources as
            select 'ses' as source_name, ?::timestamp as data_through_at""",
            [f"{max(day for day, _ in delivered)} 12:00"],
        )
        keep_restatements(connection, settings, build_id=build_id, published_at=published_at)
        connection.execute(
            "create table published.marts.ops_publication as select ? as build_id, ?::timestamp as published_at",
            [build_id, published_at],
        )
        connection.execute("detach published")
    if is_killed:
        return []
    new.replace(settings.published_database)
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        return connection.execute(
            """select event_date, campaign_id, figure, old_value, new_value, build_id, previous_build_id
            from marts.ops_restatements order by restated_at, event_date, campaign_id"""
        ).fetchall()


def test_only_days_that_were_over_are_restated(settings: Settings) -> None:
    """The last day was still going on; a day that is new, or as it was, restates nothing."""
    assert publish(settings, "b1", {(FIRST, "spring"): 10, (SECOND, "spring"): 7}) == []
    rows = publish(
        settings, "b2", {(FIRST, "spring"): 11, (FIRST, None): 2, (SECOND, "spring"): 9, (LAST, "spring"): 5}, hard=3
    )
    assert rows == [
        (FIRST, "spring", "delivered_count", 10, 11, "b2", "b1"),
        (FIRST, None, "delivered_count", 0, 2, "b2", "b1"),
        (FIRST, None, "hard_bounce_count", 0, 3, "b2", "b1"),
    ]
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        assert count_restated(connection) == (3, 1)


def test_past_restatements_are_kept(settings: Settings) -> None:
    publish(settings, "b1", {(FIRST, "spring"): 10, (LAST, None): 1})
    publish(settings, "b2", {(FIRST, "spring"): 11, (LAST, None): 1})
    assert publish(settings, "b2", {(FIRST, "spring"): 11, (LAST, None): 1}) == [
        (FIRST, "spring", "delivered_count", 10, 11, "b2", "b1")
    ]
    assert publish(settings, "b3", {(LAST, None): 1}) == [
        (FIRST, "spring", "delivered_count", 10, 11, "b2", "b1"),
        (FIRST, "spring", "delivered_count", 11, 0, "b3", "b2"),
    ]
    settings.published_database.unlink()  # nothing to compare with, and nothing forgotten
    assert len(publish(settings, "b4", {(FIRST, "spring"): 99, (LAST, None): 1})) == 2


def test_killed_publication_leaves_no_trace(settings: Settings) -> None:
    """What nobody ever saw published was not restated: the next publication compares with what readers have."""
    publish(settings, "b1", {(FIRST, "spring"): 10, (LAST, None): 1})
    publish(settings, "b2", {(FIRST, "spring"): 11, (LAST, None): 1}, is_killed=True)
    assert publish(settings, "b3", {(FIRST, "spring"): 12, (LAST, None): 1}) == [
        (FIRST, "spring", "delivered_count", 10, 12, "b3", "b1")
    ]
    publish(settings, "b4", {(FIRST, "spring"): 13, (LAST, None): 1}, is_killed=True)
    assert len(publish(settings, "b5", {(FIRST, "spring"): 12, (LAST, None): 1})) == 1


def test_publication_of_an_older_version_is_not_compared(settings: Settings) -> None:
    with duckdb.connect(settings.published_database) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.ops_publication as select 'b0' as build_id")
        assert count_restated(connection) == (0, 0)
    assert publish(settings, "b1", {(FIRST, "spring"): 10}) == []
