"""`manifest.json`: of each file in a folder its rows, columns, size, digest and settings, for programs that read it.

It is written last, and by rename. A program that must have files which belong together compares their digests with it.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from flows.exports.declared import Declared
from flows.exports.files import finish_file, swap_in

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1

Entries = dict[str, dict[str, Any]]
"""What the manifest says, by file name."""


def describe_file(path: Path, declared: Declared, told: Mapping[str, object]) -> dict[str, Any]:
    """What the manifest says of a file; of what was told of it the times are in UTC."""
    described = {
        "exposure": declared.name,
        "label": declared.label,
        "owner": declared.owner,
        "schedule": declared.settings.schedule,
        **told,
        **find_size(path),
    }
    return {name: _plain(value) for name, value in described.items()}


def find_size(path: Path) -> dict[str, Any]:
    """`bytes`, and `sha256` in hex."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return value.isoformat() if isinstance(value, date) else value


def read_entries(folder: Path) -> Entries:
    """The files that a folder's manifest tells of; none where there is no manifest, or one that cannot be read."""
    try:
        files = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: entry for name, entry in files.items() if isinstance(entry, dict)} if isinstance(files, dict) else {}


def write_manifest(staged: Path, folder: Path, publication: Mapping[str, object], entries: Entries, mode: int) -> Path:
    """Write the manifest in `staged`, and put it into the folder, whose files are in their places."""
    path = staged / MANIFEST_NAME
    content = {
        "manifest_version": MANIFEST_VERSION,
        **{name: _plain(value) for name, value in publication.items()},
        "files": dict(sorted(entries.items())),
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    finish_file(path, mode)
    swap_in([path], folder)
    return folder / MANIFEST_NAME
