"""A DuckDB file copied: whole, or over an older copy of it, of which only the blocks that differ are written.

A file is three headers and then blocks, each of which begins with the checksum of what follows (DuckDB's
`SingleFileBlockManager`, `storage_info.hpp`). Blocks with the same checksum are the same.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

HEADER_BYTES = 3 * 4096
BLOCK_BYTES = 256 * 1024
CHECKSUM_BYTES = 8
STRETCH_BYTES = 1 << 30
"""What of a copy may be in memory and not on the disk yet; a copy that is no larger stays there."""
READERS = 8
"""Threads that read checksums: where they are not in memory each is a wait for the disk."""


def copy_file(source: Path, target: Path) -> None:
    """Copy to a new file by the kernel, which on file systems that can (btrfs, xfs) shares the blocks instead.

    Of a large copy the last stretches alone stay in memory, where the files lie that the next build reads.
    """
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new, ThreadPoolExecutor(1) as behind:
        let_go = behind.submit(_let_go, new.fileno(), 0)
        for _ in _copy_stretches(old.fileno(), new.fileno()):
            let_go.result()
            let_go = behind.submit(_let_go, new.fileno(), new.tell() - STRETCH_BYTES)
        # what is left of it: usually nothing. A disk that is full says so here
        shutil.copyfileobj(old, new)
        let_go.result()


def _copy_stretches(old: int, new: int) -> Iterator[int]:
    """Copy as much as the kernel can, a stretch at a time; gives the bytes of each."""
    with suppress(AttributeError, OSError):  # not on this system, or not between these file systems
        while copied := os.copy_file_range(old, new, STRETCH_BYTES):
            yield copied


def _let_go(file: int, length: int) -> None:
    """Have the begin of a file that is written on the disk, and no longer in memory."""
    if length > 0:
        os.fdatasync(file)
        with suppress(AttributeError, OSError):
            os.posix_fadvise(file, 0, length, os.POSIX_FADV_DONTNEED)


def is_held(path: Path) -> bool:
    """Whether anybody may have the file open: a reader of it would see it change.

    Linux grants a lease for writing only where nobody has (fcntl(2), "Leases"). Elsewhere, and where the file system
    knows none, the answer is yes.
    """
    with path.open("r+b") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except (AttributeError, OSError):
            return True
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


def copy_changes(source: Path, target: Path, block_bytes: int = BLOCK_BYTES) -> int:
    """Make an older copy, which nobody has open, the same as the file; gives the bytes that were written.

    Both are whole databases without a write-ahead log. Whoever is killed in it leaves a file that is neither.
    """
    size = source.stat().st_size
    with source.open("rb", buffering=0) as new, target.open("r+b", buffering=0) as old:
        os.truncate(old.fileno(), size)
        blocks = range((size - HEADER_BYTES) // block_bytes)
        written = _write(new.fileno(), old.fileno(), 0, HEADER_BYTES)
        begin = None
        for block, is_same in zip(blocks, _compare(new.fileno(), old.fileno(), blocks, block_bytes), strict=True):
            if is_same and begin is not None:
                written += _write(new.fileno(), old.fileno(), *_place(begin, block, block_bytes))
                begin = None
            elif not is_same and begin is None:
                begin = block
        # to the end, whatever is behind the last whole block
        place = _place(begin if begin is not None else len(blocks), len(blocks), block_bytes)[0]
        return written + _write(new.fileno(), old.fileno(), place, size - place)


def _place(begin: int, end: int, block_bytes: int) -> tuple[int, int]:
    """Where blocks lie, and how many bytes they are."""
    return HEADER_BYTES + begin * block_bytes, (end - begin) * block_bytes


def _compare(new: int, old: int, blocks: range, block_bytes: int) -> list[bool]:
    """Of each block whether both files have the same."""
    for file in (new, old):
        with suppress(AttributeError, OSError):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)

    def compare(some: range) -> list[bool]:
        return [
            os.pread(new, CHECKSUM_BYTES, place) == os.pread(old, CHECKSUM_BYTES, place)
            for place in (HEADER_BYTES + block * block_bytes for block in some)
        ]

    share = max(1, len(blocks) // (READERS * 16))
    with ThreadPoolExecutor(READERS) as pool:
        parts = pool.map(compare, (blocks[begin : begin + share] for begin in range(0, len(blocks), share)))
        return [each for part in parts for each in part]


def _write(new: int, old: int, place: int, length: int) -> int:
    """Copy a stretch from one file to the same place of the other."""
    end = place + length
    with suppress(AttributeError, OSError):
        while place < end and (copied := os.copy_file_range(new, old, end - place, place, place)):
            place += copied
    while place < end:
        data = os.pread(new, min(end - place, 1 << 20), place)
        if not data:
            break
        place += os.pwrite(old, data, place)
    return length
