"""Folders for files that are still being written, and how those of a killed run are told from those at work."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.landing.loads import PACK_PREFIX
from flows.settings import Settings

TEMPORARY_PREFIX = ".landing-"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder beside the files that will come out of it, so that they can be renamed; gone afterwards."""
    folder = parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hold_lock(settings: Settings, *, exclusive: bool, kind: str = "work") -> Iterator[None]:
    """A lock between threads and processes that a killed one cannot leave behind.

    Whoever lands a file shares the `work` lock; whoever has it alone knows that temporary folders are leftovers.
    """
    with (settings.landing / f".{kind}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def remove_leftovers(settings: Settings) -> None:
    """Remove what killed runs left: temporary folders, and packs without a load record, which nobody would read.

    Nothing is removed while another process is landing.
    """
    if not settings.landing.is_dir():
        return
    with (settings.landing / ".work.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for folder in settings.landing.glob(f"*/{TEMPORARY_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for top in (settings.landing, settings.rejects):
            for path in top.glob(f"*/{PACK_PREFIX}*.parquet"):
                if not (settings.landing / path.parent.name / f"{path.stem}.json").exists():
                    path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file or a folder's names durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
