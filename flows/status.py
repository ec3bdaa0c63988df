"""What is known of a home: sources, files, how far the data goes, what was published when, and what waits."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from flows.landing import Arrivals, InboxMissing, find_arrivals, read_loads
from flows.lock import find_active_run
from flows.report import open_published
from flows.restatements import count_restated
from flows.settings import ACTIONS, SOURCES, Settings


@dataclass(frozen=True)
class SourceStatus:
    """One source as published, and the inbox's files that have not landed. Times are UTC; None where nothing is built.

    `incomplete_files` ended early, for instance in a cut compressed frame.
    """

    source_name: str
    data_through_at: datetime | None = None
    last_landed_at: datetime | None = None
    files: int = 0
    records: int = 0
    events: int = 0
    ignored: int = 0
    duplicates: int = 0
    rejected_records: int = 0
    rejected_files: int = 0
    incomplete_files: int = 0
    waiting_files: int = 0


@dataclass(frozen=True)
class Publication:
    """The last publication."""

    published_at: datetime
    rule_set_version: str
    suppression_policy: str
    bouncehouse_version: str
    restated_figures: int
    """Figures of days published before that this publication changed, ..."""
    restated_days: int
    """... and how many days they are of."""
    differences: int
    """By how much the sums of what was read and what became of it fail; a run publishes only 0."""


@dataclass(frozen=True)
class Status:
    """`landed_not_published` counts files. `active_run` says who works on the home, if anybody does."""

    home: Path
    published: Publication | None
    sources: list[SourceStatus]
    has_inbox: bool
    files_in_inbox_not_landed: int
    unreadable: list[str]
    landed_not_published: int
    active_run: str | None


def find_status(settings: Settings) -> Status:
    """Look at the home without changing it; works before the first run too, and while one is active.

    Never opens the private database: a run that wants it at that moment would fail.
    """
    try:
        arrivals = find_arrivals(settings, is_tidied=False)
    except InboxMissing:
        arrivals = Arrivals()
    waiting_by_source = Counter(arrival.source_name for arrival in arrivals.files)
    publication, known, published = _read_published(settings)
    landed = {load.file_digest for load in read_loads(settings)}
    names = [name for name in (*SOURCES, ACTIONS) if name in known or name in waiting_by_source]
    sources = [
        replace(known.get(name, SourceStatus(name)), waiting_files=waiting_by_source[name])
        for name in [*names, *sorted(set(known) - set(names))]
    ]
    return Status(
        home=settings.root,
        published=publication,
        sources=sources,
        has_inbox=settings.inbox.is_dir(),
        files_in_inbox_not_landed=len(arrivals.files),
        unreadable=[f"{file.source_file}: {file.message}" for file in arrivals.unreadable],
        landed_not_published=len(landed - published),
        active_run=find_active_run(settings),
    )


def _read_published(settings: Settings) -> tuple[Publication | None, dict[str, SourceStatus], set[str]]:
    """The publication, its sources by name, and the digests of its files."""
    if not settings.published_database.exists():
        return None, {}, set()
    with open_published(settings.published_database) as connection:
        publication: tuple[Any, ...] | None = connection.execute(
            """
            select
                published_at::timestamp, rule_set_version::varchar, suppression_policy, bouncehouse_version,
            from marts.ops_publication
            """
        ).fetchone()
        rows = connection.execute(
            """
            with loads as (
                select
                    source_name,
                    count_if(records_landed = 0 and records_rejected > 0) as rejected_files,
                    count_if(not is_complete) as incomplete_files,
                from marts.ops_loads
                group by source_name
            )

            select
                sources.source_name,
                sources.data_through_at::timestamp,
                sources.last_landed_at::timestamp,
                sources.file_count,
                sources.record_count,
                sources.event_count,
                sources.ignored_count,
                sources.duplicate_count,
                sources.rejected_count,
                coalesce(loads.rejected_files, 0),
                coalesce(loads.incomplete_files, 0),
            from marts.ops_sources as sources
            left join loads on loads.source_name = sources.source_name
            order by sources.source_name
            """
        ).fetchall()
        restated = count_restated(connection)
        differences = _count_differences(connection)
        digests = connection.execute("select distinct file_digest from marts.ops_loads").fetchall()
    sources = {source[0]: SourceStatus(*source) for source in rows}
    known = {digest for (digest,) in digests}
    if publication is None:
        return None, sources, known
    return Publication(*(*publication, *restated, differences)), sources, known


def _count_differences(connection: duckdb.DuckDBPyConnection) -> int:
    is_there = "select count(*) from duckdb_tables() where schema_name = 'marts' and table_name = 'ops_reconciliation'"
    if connection.execute(is_there).fetchone() == (0,):  # published by an older version
        return 0
    row = connection.execute(
        "select coalesce(sum(difference_count), 0)::bigint from marts.ops_reconciliation"
    ).fetchone()
    return int(row[0]) if row else 0
