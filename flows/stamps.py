"""Whether a file is still the one it was, told without reading it."""

from pathlib import Path


def stamp_of(path: Path) -> list[int] | None:
    """Size, time of change and inode, for JSON; None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]
