"""Load records: what became of each landed file. The record is written last; with it its files count as landed.

A file has its own record, or shares one, as it shares the Parquet file, with the others of its *pack*.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from flows.settings import ACTIONS, SOURCES, Settings

PACK_PREFIX = "pack-"


@dataclass(frozen=True)
class Load:
    """One landed file. `records_read` is what the splitter gave, the others what was written: they can differ.

    `pack` names what it was landed in together with others, whose `landing_bytes` it shares. `next_landing_bytes` is
    there while another file takes the place of what was landed: either is whole. Since `dropped_at` its records are
    gone (flows/retention.py), and it still counts as landed.
    """

    source_name: str
    source_file: str
    file_digest: str
    file_bytes: int
    compression: str
    records_read: int
    records_landed: int
    records_rejected: int
    landing_bytes: int
    is_complete: bool
    message: str | None
    landed_at: str
    pack: str | None = None
    next_landing_bytes: int | None = None
    dropped_at: str | None = None

    @property
    def landing_name(self) -> str:
        """What the files that hold its records are called."""
        return self.pack or self.file_digest


LOAD_FIELDS = {field.name for field in fields(Load)}


def make_load(record: Mapping[str, object]) -> Load:
    """Read a load record; what a later version says in it beyond what is known here is passed over."""
    return Load(**{name: value for name, value in record.items() if name in LOAD_FIELDS})  # type: ignore[arg-type]


def name_pack(digests: Iterable[str]) -> str:
    """The name of a pack of several contents: the same ones have the same name."""
    return PACK_PREFIX + hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def landing_path(settings: Settings, source_name: str, landing_name: str) -> Path:
    """Where the records of a content, or of a pack, lie."""
    return settings.landing / source_name / f"{landing_name}.parquet"


def load_path(settings: Settings, source_name: str, landing_name: str) -> Path:
    """Where the load record of a content, or of a pack, lies."""
    return settings.landing / source_name / f"{landing_name}.json"


def rejects_path(settings: Settings, source_name: str, landing_name: str) -> Path:
    """Where the rejected records of a content, or of a pack, lie, if there are any."""
    return settings.rejects / source_name / f"{landing_name}.parquet"


class Landed:
    """What has landed of one source, as its load records tell now, or at the last `refresh`."""

    def __init__(self, settings: Settings, source_name: str) -> None:
        self.settings = settings
        self.source_name = source_name
        self.singles: set[str] = set()
        self.packs: list[tuple[Load, ...]] = []
        self.by_digest: dict[str, Load] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again: other processes may have landed something meanwhile, or somebody removed it."""
        folder = self.settings.landing / self.source_name
        names = [path.name for path in folder.glob("*.json")]
        self.singles = {name.removesuffix(".json") for name in names if not name.startswith(PACK_PREFIX)}
        packs = [
            pack
            for name in sorted(names)
            if name.startswith(PACK_PREFIX) and (pack := read_pack(folder / name)) and is_whole(self.settings, pack)
        ]
        if len(packs) != len(self.packs) or any(new is not old for new, old in zip(packs, self.packs, strict=True)):
            self.packs = packs
            # of two packs that hold a content (one was lost and put back) the first counts
            self.by_digest = {load.file_digest: load for pack in reversed(packs) for load in pack}

    def find(self, digest: str) -> Load | None:
        """The load of a content that is landed and whole: one whose files were cut or lost counts as not landed."""
        load = find_single(self.settings, self.source_name, digest) if digest in self.singles else None
        return load or self.by_digest.get(digest)

    def all(self) -> list[Load]:
        """Every content's load, by digest."""
        singles = (find_single(self.settings, self.source_name, name) for name in self.singles)
        found = self.by_digest | {load.file_digest: load for load in singles if load}
        return [found[digest] for digest in sorted(found)]


def find_single(settings: Settings, source_name: str, digest: str) -> Load | None:
    """The load of a content that was landed by itself, if it is whole."""
    found = read_record(load_path(settings, source_name, digest))
    return found[0] if found and is_whole(settings, found) else None


def read_record(path: Path) -> tuple[Load, ...]:
    """The loads of a load record, of one content or of a pack; none where it is gone or damaged."""
    if path.name.startswith(PACK_PREFIX):
        return read_pack(path)
    try:
        return (make_load(json.loads(path.read_bytes())),)
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return ()


def read_pack(path: Path) -> tuple[Load, ...]:
    """The loads of a pack; none where its record is gone or damaged."""
    try:
        status = path.stat()
        return parse_pack(path, (status.st_size, status.st_mtime_ns, status.st_ino))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return ()


@lru_cache(maxsize=1024)
def parse_pack(path: Path, stamp: tuple[int, int, int]) -> tuple[Load, ...]:
    """As `read_pack`, once for each `stamp`: a pack's record holds thousands of loads and never changes."""
    return tuple(make_load(load) for load in json.loads(path.read_bytes())["loads"])


def is_whole(settings: Settings, loads: Iterable[Load]) -> bool:
    """Whether the files that some loads share are there as they were written."""
    first, *others = loads
    if first.dropped_at:
        return True
    try:
        landing_bytes = landing_path(settings, first.source_name, first.landing_name).stat().st_size
    except FileNotFoundError:
        return False
    if landing_bytes not in {first.landing_bytes, first.next_landing_bytes}:
        return False
    is_rejected = any(load.records_rejected for load in (first, *others))
    return not is_rejected or rejects_path(settings, first.source_name, first.landing_name).is_file()


def write_load(path: Path, loads: list[Load]) -> None:
    """Write a load record durably: of one file by itself, or of a pack."""
    records = [vars(load) for load in loads]
    with path.open("w", encoding="utf-8") as file:
        if loads[0].pack:
            # a load a line
            file.write('{"loads": [\n' + ",\n".join(json.dumps(record) for record in records) + "\n]}\n")
        else:
            file.write(json.dumps(records[0], indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())


def replace_landed(settings: Settings, loads: Sequence[Load], rewritten: Path) -> None:
    """Put another file in the place of the one that some loads share, and write their record anew.

    A kill at any moment leaves them whole: between the two renames either file is.
    """
    first = loads[0]
    path = landing_path(settings, first.source_name, first.landing_name)
    sync(rewritten)
    size = rewritten.stat().st_size
    replace_record(settings, [replace(load, next_landing_bytes=size) for load in loads])
    rewritten.replace(path)
    sync(path.parent)
    replace_record(settings, [replace(load, landing_bytes=size, next_landing_bytes=None) for load in loads])


def replace_record(settings: Settings, loads: list[Load]) -> None:
    """Write the load record that some loads share in the place of the one that is there."""
    path = load_path(settings, loads[0].source_name, loads[0].landing_name)
    temporary = path.with_name(f".{path.name}.new")
    write_load(temporary, loads)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file or a folder's names durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_loads(settings: Settings) -> list[Load]:
    """Give all landed files, by source and digest."""
    return [load for source_name in (*SOURCES, ACTIONS) for load in Landed(settings, source_name).all()]
