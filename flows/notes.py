"""Notes in `state/` of what was written, and whether a file is still the one it was, told without reading it."""

import json
from pathlib import Path
from typing import Any


def stamp_of(path: Path) -> list[int] | None:
    """Size, time of change and inode, for JSON; None where there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def write_note(path: Path, content: dict[str, Any]) -> None:
    """Write a note as JSON, whole or not at all, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
