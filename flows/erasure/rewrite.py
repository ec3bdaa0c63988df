"""Files written anew with every address gone; each takes the place of the old one at once, or not at all."""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from flows.erasure.patterns import Target, replace_in_batch, replace_in_bytes, replace_in_text
from flows.erasure.places import BATCH_ROWS
from flows.landing import loads
from flows.settings import ACTIONS, SOURCES, Settings


def rewrite_landed(settings: Settings, paths: set[Path], targets: Sequence[Target]) -> None:
    """Write those of the paths that hold landed records anew, and their load records with them.

    By load record, not by content: one that lies in two packs is rewritten in both. A file without a record is of a
    landing that was killed; nothing counts it, so it goes, and its raw file is landed anew.
    """
    for source_name in (*SOURCES, ACTIONS):
        for path in sorted(paths):
            if path.parent != settings.landing / source_name or path.suffix not in {".parquet", ".json"}:
                continue
            pack = loads.read_record(loads.load_path(settings, source_name, path.stem))
            if not pack:
                path.unlink(missing_ok=True)
                continue
            landed = loads.landing_path(settings, source_name, path.stem)
            renamed = [replace(load, source_file=replace_in_text(load.source_file, targets)) for load in pack]
            if path.suffix == ".json" or pack[0].dropped_at:
                loads.replace_record(settings, renamed)
                continue
            temporary = landed.with_name(f".{landed.name}.new")
            write_parquet(landed, temporary, targets)
            loads.replace_landed(settings, renamed, temporary)


def rewrite_parquet(path: Path, targets: Sequence[Target]) -> None:
    """Write a Parquet file that has no load record anew."""
    temporary = path.with_name(f".{path.name}.new")
    write_parquet(path, temporary, targets)
    loads.sync(temporary)
    temporary.replace(path)
    loads.sync(path.parent)


def write_parquet(path: Path, target: Path, targets: Sequence[Target]) -> None:
    """Write the records of a Parquet file to another, in their order, with every address gone."""
    with (
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(target, file.schema_arrow, compression="zstd", compression_level=1) as writer,
    ):
        for batch in file.iter_batches(BATCH_ROWS):
            writer.write_batch(replace_in_batch(batch, targets))


def rewrite_file(path: Path, targets: Sequence[Target]) -> None:
    """Write a file of text anew. Nobody may append to it meanwhile who does not lock it."""
    with path.open("rb") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as new:
            os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o777)
            for line in old:
                new.write(replace_in_bytes(line, targets))
            new.flush()
            os.fsync(new.fileno())
        temporary.replace(path)
        loads.sync(path.parent)
