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
from flows.landing.loads import Load
from flows.settings import ACTIONS, SOURCES, Settings


def rewrite_landed(settings: Settings, paths: set[Path], targets: Sequence[Target]) -> None:
    """Write those of the paths that hold landed records anew, and their load records with them."""
    for source_name in (*SOURCES, ACTIONS):
        packs: dict[str, list[Load]] = {}
        for load in loads.Landed(settings, source_name).all():
            packs.setdefault(load.landing_name, []).append(load)
        for name, pack in packs.items():
            path = loads.landing_path(settings, source_name, name)
            record = loads.load_path(settings, source_name, name)
            if not paths & {path, record}:
                continue
            renamed = [replace(load, source_file=replace_in_text(load.source_file, targets)) for load in pack]
            if pack[0].dropped_at:
                loads.replace_record(settings, renamed)
                continue
            temporary = path.with_name(f".{path.name}.new") if path in paths else None
            if temporary:
                write_parquet(path, temporary, targets)
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
