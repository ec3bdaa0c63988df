"""Load records: what became of each landed file. The record is written last; with it a file counts as landed."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.settings import ACTIONS, SOURCES, Settings


@dataclass(frozen=True)
class Load:
    """One landed file. `records_read` is what the splitter gave, the others what was written: they can differ."""

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


def landing_path(settings: Settings, source_name: str, digest: str) -> Path:
    """Where the records of a content lie."""
    return settings.landing / source_name / f"{digest}.parquet"


def load_path(settings: Settings, source_name: str, digest: str) -> Path:
    """Where the load record of a content lies."""
    return settings.landing / source_name / f"{digest}.json"


def rejects_path(settings: Settings, source_name: str, digest: str) -> Path:
    """Where the rejected records of a content lie, if there are any."""
    return settings.rejects / source_name / f"{digest}.parquet"


def find_load(settings: Settings, source_name: str, digest: str) -> Load | None:
    """The load record of a content that is landed and whole: one whose files were cut or lost counts as not landed."""
    try:
        load = Load(**json.loads(load_path(settings, source_name, digest).read_bytes()))
        landing_bytes = landing_path(settings, source_name, digest).stat().st_size
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if landing_bytes != load.landing_bytes:
        return None
    if load.records_rejected and not rejects_path(settings, source_name, digest).is_file():
        return None
    return load


def write_load(path: Path, load: Load) -> None:
    """Write a load record durably."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(asdict(load), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_loads(settings: Settings) -> list[Load]:
    """Give all landed files, by source and digest."""
    return [
        load
        for source_name in (*SOURCES, ACTIONS)
        for path in sorted((settings.landing / source_name).glob("*.json"))
        if (load := find_load(settings, source_name, path.stem))
    ]
