"""Restatements: figures of a published day that a later publication changed.

What was published is in no log and cannot be derived again, so each publication writes down what it changes of the one
before, in `<home>/landing/restatements.parquet`, which belongs to a backup as the landed logs do. A day counts as
published once its source's data reached beyond it; what is added to a day that was still going on restates nothing.
"""

import os
from datetime import datetime

import duckdb

from flows.problems import read_write_problem
from flows.report import hold_readable
from flows.settings import Settings
from flows.sql import text

COLUMNS = {
    "event_date": "date",
    "source_name": "varchar",
    "campaign_id": "varchar",
    "figure": "varchar",
    "old_value": "bigint",
    "new_value": "bigint",
    "restated_at": "timestamp",
    "build_id": "varchar",
    "previous_build_id": "varchar",
    "previously_published_at": "timestamp",
}
"""The columns of the file and of `marts.ops_restatements`; `restated_at` is when the new value was published (UTC)."""

DELIVERY_FIGURES = (
    "injected_count",
    "attempt_count",
    "delivered_count",
    "deferred_count",
    "bounced_count",
    "expired_count",
    "dropped_count",
    "out_of_band_bounce_count",
    "complaint_count",
)


DAMAGED = (duckdb.IOException, duckdb.InternalException, duckdb.SerializationException, duckdb.FatalException)
"""What DuckDB raises of a published file that somebody has cut or written over: it says nothing any more."""


def keep_restatements(
    connection: duckdb.DuckDBPyConnection, settings: Settings, *, build_id: str, published_at: datetime
) -> None:
    """Compare the marts about to be published (database `published`) with those published now, and keep what differs.

    Writes the file before the swap: if this publication is killed in between, the next one on top of the same file
    puts its own rows in place of these. Then brings `published.marts.ops_restatements` up to date with the file.
    """
    path = settings.restatements
    kept = f"select * from read_parquet({text(path)})" if path.exists() else _nothing()
    if settings.published_database.exists():
        try:
            with hold_readable(settings) as database:
                connection.execute(f"attach {text(database)} as before (read_only)")
                try:
                    kept = _keep_changes(connection, settings, kept, build_id=build_id, published_at=published_at)
                finally:
                    connection.execute("detach before")
        except (duckdb.CatalogException, duckdb.BinderException):
            pass  # published by an older version that counted other figures: there is nothing to compare
        except DAMAGED as error:
            if read_write_problem(str(error)):
                raise
    connection.execute(f"create or replace table published.marts.ops_restatements as {kept}")


def _keep_changes(
    connection: duckdb.DuckDBPyConnection, settings: Settings, kept: str, *, build_id: str, published_at: datetime
) -> str:
    """Add to the file what changes of the database `before`; gives SQL for the rows that the file has then."""
    connection.execute(f"create or replace temp table restated as {_changes()}", [published_at, build_id])
    found = connection.execute(
        f"""select exists (from restated) or exists (
            select * from ({kept}) where previous_build_id = (select build_id from before.marts.ops_publication)
        )"""
    ).fetchone()
    if not found or not found[0]:
        return kept
    _write(
        connection,
        settings,
        f"""select * from ({kept})
        -- of a publication that was killed before it could be seen
        where previous_build_id <> (select build_id from before.marts.ops_publication)
        union all by name
        select * from restated
        order by restated_at, event_date, source_name, campaign_id, figure""",
    )
    return f"select * from read_parquet({text(settings.restatements)})"


def count_restated(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many figures of how many days the publication (database of `connection`) changed of the one before."""
    is_there = "select count(*) from duckdb_tables() where schema_name = 'marts' and table_name = 'ops_restatements'"
    if connection.execute(is_there).fetchone() == (0,):  # published by an older version
        return 0, 0
    row = connection.execute(
        """select count(*), count(distinct event_date)
        from marts.ops_restatements
        where build_id = (select build_id from marts.ops_publication)"""
    ).fetchone()
    assert row
    return int(row[0]), int(row[1])


def _changes() -> str:
    return f"""
        with amounts as (
            select *, amount as old_value, 0 as new_value from ({_figures("before")})
            union all
            select *, 0 as old_value, amount as new_value from ({_figures("published")})
        ),
        summed as (
            select
                event_date, source_name, campaign_id, figure,
                sum(old_value)::bigint as old_value, sum(new_value)::bigint as new_value
            from amounts
            group by all
            having sum(old_value) <> sum(new_value)
        )
        select
            summed.*,
            cast(? as timestamp) as restated_at,
            cast(? as varchar) as build_id,
            publication.build_id as previous_build_id,
            publication.published_at as previously_published_at
        from summed
        inner join before.marts.ops_sources as sources
            on summed.source_name = sources.source_name and summed.event_date < cast(sources.data_through_at as date)
        cross join before.marts.ops_publication as publication"""


def _figures(database: str) -> str:
    sums = ", ".join(f"sum({figure}) as {figure}" for figure in DELIVERY_FIGURES)
    return f"""
        select * from (
            unpivot (
                select event_date, source_name, campaign_id, {sums}
                from {database}.marts.rpt_delivery_daily
                group by all
            )
            on {", ".join(DELIVERY_FIGURES)} into name figure value amount
        )
        union all by name
        select
            event_date, source_name, campaign_id, bounce_class || '_bounce_count' as figure,
            sum(bounce_count) as amount
        from {database}.marts.rpt_bounces_daily
        group by all
        union all by name
        select
            undelivered_date as event_date, source_name, campaign_id, 'undelivery_count' as figure,
            sum(undelivery_count) as amount
        from {database}.marts.rpt_undeliveries_daily
        group by all"""


def _nothing() -> str:
    nulls = ", ".join(f"cast(null as {kind}) as {column}" for column, kind in COLUMNS.items())
    return f"select {nulls} where false"


def _write(connection: duckdb.DuckDBPyConnection, settings: Settings, query: str) -> None:
    """Replace the file durably: old or new, never a part."""
    path = settings.restatements
    temporary = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy ({query}) to {text(temporary)} (format parquet)")
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)
