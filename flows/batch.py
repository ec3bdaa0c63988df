"""What a build is shown of what has landed: its batch, as the views that the dbt sources `landing.*` are."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from flows import landing, restatements
from flows.landing import loads
from flows.problems import ActionableError
from flows.provider_totals import show_provider_totals
from flows.retained import TABLES, Retained, select_retained
from flows.settings import ACTIONS, SOURCES, Settings
from flows.sql import listed, quote

LOAD_COLUMNS = {
    "source_name": "varchar",
    "source_file": "varchar",
    "file_digest": "varchar",
    "file_bytes": "bigint",
    "compression": "varchar",
    "records_read": "bigint",
    "records_landed": "bigint",
    "records_rejected": "bigint",
    "is_complete": "boolean",
    "message": "varchar",
    "landed_at": "timestamp",
}


def find_kept(settings: Settings, retained: Retained | None) -> list[landing.Load]:
    """The landed files whose records are there to be built; `ActionableError` if what stays of others is lost."""
    dropped = retained.dropped_digests if retained else set()
    loads = [load for load in landing.read_loads(settings) if load.file_digest not in dropped]
    if lost := [load.source_file for load in loads if load.dropped_at]:
        raise ActionableError(
            f"retention dropped {len(lost)} landed files, among them {lost[0]}, and what it retained of them is gone",
            f"put {settings.root / 'retained'} back from a backup; without it reports and lists would lose their past",
        )
    return loads


def show_retained(connection: duckdb.DuckDBPyConnection, retained: Retained | None) -> None:
    """Show every build, beside its batch, the whole of what is retained of dropped files."""
    for table in TABLES:
        connection.execute(f"create or replace view landing.retained_{table} as {select_retained(retained, table)}")


def show_batch(connection: duckdb.DuckDBPyConnection, settings: Settings, batch: list[landing.Load]) -> None:
    """Make the batch what the dbt sources `landing.*` hold: views on its files, empty but typed where it has none."""
    packs: dict[tuple[str, str], list[landing.Load]] = {}
    for load in batch:
        packs.setdefault((load.source_name, load.landing_name), []).append(load)
    for source in (*SOURCES, ACTIONS):
        files = {
            loads.landing_path(settings, source, name): _chosen(name, chosen)
            for (source_name, name), chosen in packs.items()
            if source_name == source
        }
        show_files(connection, source, landing.LANDING_COLUMNS[source], files)
    rejected = {
        loads.rejects_path(settings, source_name, name): _chosen(name, chosen)
        for (source_name, name), chosen in packs.items()
        if any(load.records_rejected for load in chosen)
    }
    show_files(connection, "rejects", landing.REJECT_COLUMNS, rejected)
    kept = settings.restatements
    show_files(connection, "restatements", restatements.COLUMNS, {kept: None} if kept.exists() else {})
    show_provider_totals(connection, settings)
    rows = pa.table({name: [getattr(load, name) for load in batch] for name in LOAD_COLUMNS})
    columns = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in LOAD_COLUMNS.items())
    connection.register("batch", rows)
    connection.execute(f"create or replace table landing.loads as select {columns} from batch")
    connection.unregister("batch")


def _chosen(landing_name: str, chosen: list[landing.Load]) -> list[str] | None:
    """The digests to be read out of a pack; None if all are, as is usual.

    Others of a pack may be built under another name: a content that lies in two sources, or in a pack that was lost,
    landed again and put back.
    """
    digests = [load.file_digest for load in chosen]
    return None if landing_name in (digests[0], loads.name_pack(digests)) else digests


def show_files(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, str], files: Mapping[Path, list[str] | None]
) -> None:
    """Make `landing.<name>` a view on the files, of some only the records of the digests beside.

    A column that the source has got since a file was landed is null in it; one that it has lost is passed over.
    """
    nothing = ", ".join(f"cast(null as {kind}) as {quote(column)}" for column, kind in columns.items())
    selects = []
    for digests, paths in _by_digests(files):
        source = f"read_parquet([{listed(paths)}], union_by_name = true)"
        present = {row[0].lower() for row in connection.execute(f"describe select * from {source}").fetchall()}
        values = {column: quote(column) if column.lower() in present else "null" for column in columns}
        typed = ", ".join(f"cast({values[column]} as {kind}) as {quote(column)}" for column, kind in columns.items())
        condition = f" where file_digest in ({listed(digests)})" if digests else ""
        selects.append(f"select {typed} from {source}{condition}")
    query = " union all ".join(selects) or f"select {nothing} where false"
    connection.execute(f"create or replace view landing.{name} as {query}")


def _by_digests(files: Mapping[Path, list[str] | None]) -> Iterator[tuple[list[str] | None, list[str]]]:
    """The files of which all is wanted together, the others one by one; none of which nothing is."""
    if whole := [str(path) for path, digests in files.items() if digests is None]:
        yield None, whole
    for path, digests in files.items():
        if digests:
            yield digests, [str(path)]
