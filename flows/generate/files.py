"""Writes what a query renders into log files, byte for byte the same at every run."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

ROWS_A_BATCH = 20_000
GZIP_LEVEL = 4
ZSTD_LEVEL = 3

Writable = IO[bytes] | gzip.GzipFile

SEGMENT_NAME = re.compile(r"\d{8}-\d{6}(\.\d+)?")
"""KumoMTA's segments are zstd by their content only."""


def write_records(connection: duckdb.DuckDBPyConnection, query: str, directory: Path) -> list[Path]:
    """Append the records of `query` to files below `directory`; gives the files.

    The query gives `file_name` (compressed as `open_part` says), `part` (each is a frame or member of its own) and
    `record`: text written as it is, so a line ends in its own newline. Rows of a part must stand together.
    """
    paths: list[Path] = []
    runs = read_runs(connection.execute(query).to_arrow_reader(ROWS_A_BATCH))
    for (name, _), pieces in groupby(runs, key=lambda run: run[0]):
        path = directory / name
        if path not in paths[-1:]:
            paths.append(path)
        with open_part(path) as output:
            for _, piece in pieces:
                output.write(piece)
    return paths


def read_runs(batches: pa.RecordBatchReader) -> Iterator[tuple[tuple[str, int], memoryview]]:
    """Yield each run of rows of one part in a batch: its key, and its texts end to end as Arrow's buffer holds them."""
    for batch in batches:
        names, parts, records = (batch.column(name) for name in ("file_name", "part", "record"))
        offsets = pa.Array.from_buffers(
            pa.int32(), len(records) + 1, [None, records.buffers()[1]], offset=records.offset
        )
        buffer = records.buffers()[2]
        assert buffer is not None
        texts = memoryview(buffer)
        start = 0
        for end in find_run_ends(names, parts):
            yield (names[start].as_py(), parts[start].as_py()), texts[offsets[start].as_py() : offsets[end].as_py()]
            start = end


def find_run_ends(*columns: "pa.Array[Any]") -> list[int]:
    """Give the row after each run of rows in which no column changes."""
    ends: set[int] = set()
    for column in columns:
        ends.update(pc.call_function("run_end_encode", [column]).run_ends.to_pylist())
    return sorted(ends)


@contextmanager
def open_part(path: Path) -> Iterator[Writable]:
    """Append to `path`: a gzip member for `.gz`, a zstd frame for a KumoMTA segment, else plain bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if path.suffix == ".gz":
            # Without a name and time in the header, so that the same content gives the same bytes.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as member:
                yield member
        elif SEGMENT_NAME.fullmatch(path.name):
            with zstandard.ZstdCompressor(ZSTD_LEVEL).stream_writer(file, closefd=False) as frame:
                yield frame
        else:
            yield file


def json_object(fields: dict[str, str]) -> str:
    """SQL of a JSON object as text; `fields` are SQL, and one that is null is left out, as vendors do."""
    members = ", ".join(f"'\"{name}\":' || to_json({value})" for name, value in fields.items())
    return f"('{{' || concat_ws(',', {members}) || '}}')"
