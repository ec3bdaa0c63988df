"""Files that are there whole or not at all: written under a temporary name, synced, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.failpoints import failpoint
from flows.landing.loads import sync
from flows.problems import CannotWriteError

LEFTOVERS = ".*.tmp"
"""Names of what is not finished; of a killed process, once nobody works there any more."""


@contextmanager
def replace_file(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there takes the place of `path` at once, or nothing does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise cannot_write_to(path.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        finish_file(temporary, mode)
        temporary.replace(path)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}", "free the place, then try again") from error
    finally:
        temporary.unlink(missing_ok=True)


def finish_file(path: Path, mode: int) -> None:
    """Give a file that is written its permissions, and have it on the disk."""
    path.chmod(mode)  # DuckDB's writer makes its file anew
    with path.open("rb+") as written:
        os.fsync(written.fileno())
    failpoint("export.written")


@contextmanager
def stage_files(folder: Path) -> Iterator[Path]:
    """Give a folder inside `folder` to write new files in, which is gone afterwards with what is left in it.

    What killed processes left of the kind is removed first: one process works in a folder at a time.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        staged = Path(tempfile.mkdtemp(dir=folder, prefix=".new.", suffix=".tmp"))
    except OSError as error:
        raise cannot_write_to(folder, error) from error
    try:
        yield staged
    except OSError as error:
        raise CannotWriteError(
            f"cannot write to {folder}: {error.strerror}", "free the place, then try again"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def swap_in(staged: list[Path], folder: Path) -> None:
    """Rename the staged files to their names in the folder, one right after the other."""
    for path in staged:
        path.replace(folder / path.name)
        failpoint("export.renamed")
    sync(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished."""
    for leftover in folder.glob(LEFTOVERS):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def cannot_write_to(folder: Path, error: OSError) -> CannotWriteError:
    """The error of a folder that takes no file."""
    return CannotWriteError(
        f"cannot write to the folder {folder}: {error.strerror}", "choose another place, or free this one"
    )
