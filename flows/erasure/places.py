"""Where in a home an address stands: every file but the raw logs, read as what it is."""

import base64
import contextlib
import gzip
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.erasure.patterns import Target, find_rows, holds, is_searchable
from flows.erasure.pseudonyms import KEY_NAME, RECORDS_NAME
from flows.landing.lines import pc
from flows.problems import ActionableError
from flows.settings import Settings
from flows.sql import quote, text

BLOCK_BYTES = 64 << 20
OVERLAP_BYTES = 4096
"""What two blocks of a file share, so that no address is cut; encoded it is far shorter."""

PACKED = re.compile(rb"H4sI[A-Za-z0-9+/]{20,}={0,2}")
"""The first bytes of gzip (RFC 1952: magic number, method, no flags) in base64."""

BATCH_ROWS = 1 << 16
SEARCHERS = 2
"""Files looked through at once; the engine that searches lets other threads run."""


@dataclass(frozen=True)
class Place:
    """A file that names an address, with how many records, or the places in it that do."""

    path: Path
    count: int


def find_places(settings: Settings, targets: Sequence[Target]) -> list[Place]:
    """Look through the home, the raw logs in its inbox apart; gives what names one of the addresses, by path."""
    paths = sorted(walk(settings))
    with ThreadPoolExecutor(SEARCHERS) as pool:
        counts = pool.map(lambda path: count_in(path, targets), paths)
        return [Place(path, count) for path, count in zip(paths, counts, strict=True) if count]


def walk(settings: Settings) -> Iterator[Path]:
    """The files of a home that are the product's own."""
    for folder in settings.folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    for path in settings.root.iterdir() if settings.root.is_dir() else ():
        if path.is_file() and path.name not in {KEY_NAME, RECORDS_NAME}:
            yield path


def count_in(path: Path, targets: Sequence[Target]) -> int:
    """Count the records of a file that name one of the addresses; its name counts too."""
    count = int(holds(str(path.name).encode(errors="surrogateescape"), targets))
    try:
        if path.suffix == ".parquet":
            return count + count_in_parquet(path, targets)
        if path.suffix == ".duckdb":
            return count + count_in_database(path, targets)
        if path.suffix in {".xlsx", ".zip"}:
            return count + count_in_archive(path, targets)
        if path.suffix == ".html":
            return count + count_in_page(path, targets) + count_in_bytes(path, targets)
    except duckdb.IOException as error:
        if "Could not set lock" in str(error):
            raise ActionableError(
                f"{path} cannot be searched: another program has it open for writing", "close it there, then try again"
            ) from error
    except (pa.ArrowException, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, ValueError):
        pass  # a file that is damaged, or not what its name says, is bytes
    except FileNotFoundError:
        return count
    return count + count_in_bytes(path, targets)


def count_in_parquet(path: Path, targets: Sequence[Target]) -> int:
    """Count its records, of any columns."""
    with pq.ParquetFile(path) as file:
        columns = [field.name for field in file.schema_arrow if is_searchable(field.type)]
        return sum(count_in_batch(batch, targets) for batch in file.iter_batches(BATCH_ROWS, columns=columns))


def find_digests(path: Path, targets: Sequence[Target]) -> set[str]:
    """The contents whose records in a landing or rejects file name one of the addresses."""
    found: set[str] = set()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            found.update(map(str, batch["file_digest"].filter(find_named(batch, targets)).unique().to_pylist()))
    return found


def find_named(batch: pa.RecordBatch, targets: Sequence[Target]) -> "pa.Array[Any]":
    """Which records name one of the addresses, in whichever column."""
    named = pa.repeat(pa.scalar(False), batch.num_rows)
    for column in batch.columns:
        if is_searchable(column.type):
            named = pc.or_(named, find_rows(column, targets))
    return named


def count_in_batch(batch: pa.RecordBatch, targets: Sequence[Target]) -> int:
    """Count the records that name one of the addresses."""
    return int(pc.sum(find_named(batch, targets)).as_py() or 0)


def count_in_database(path: Path, targets: Sequence[Target]) -> int:
    """Rows of all tables, and what the file holds beside them: comments, macros, blocks that are no longer used."""
    count = 0
    with duckdb.connect() as connection:
        # by a name of ours: in a file called after its schema, `marts.duckdb`, names of two parts could mean either
        connection.execute(f"attach {text(path)} as searched (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'searched' order by all"
        ).fetchall()
        for schema, table in tables:
            query = f"select columns(*)::varchar from searched.{quote(schema)}.{quote(table)}"
            reader = connection.execute(query).to_arrow_reader(BATCH_ROWS)
            count += sum(count_in_batch(batch, targets) for batch in reader)
    return count + count_in_bytes(path, targets)


def count_in_archive(path: Path, targets: Sequence[Target]) -> int:
    """Count in what a workbook, or another archive, holds."""
    with zipfile.ZipFile(path) as archive:
        return sum(count_in_stream(archive.open(name), targets) for name in archive.namelist())


def count_in_page(path: Path, targets: Sequence[Target]) -> int:
    """Count in the data of a page (flows/page), which is packed by gzip and base64."""
    packed = PACKED.findall(path.read_bytes())
    return sum(count_in_stream(io.BytesIO(gzip.decompress(base64.b64decode(each))), targets) for each in packed)


def count_in_bytes(path: Path, targets: Sequence[Target]) -> int:
    """Count in a file of any kind."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        return count_in_stream(file, targets)
    return 0


def count_in_stream(file: Any, targets: Sequence[Target]) -> int:
    """Count the blocks that name one of the addresses."""
    count, tail = 0, b""
    while block := file.read(BLOCK_BYTES):
        count += holds(tail + block, targets)
        tail = block[-OVERLAP_BYTES:]
    return count
