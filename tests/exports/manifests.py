"""Folders of exports as a program reads them that checks every digest."""

import hashlib
import json
from pathlib import Path


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def read_manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def check_manifest(folder: Path) -> None:
    """It tells of every file beside it, and truly."""
    files = read_manifest(folder)["files"]
    contents = read_files(folder)
    assert sorted(contents) == sorted([*files, "manifest.json"])
    for name, entry in files.items():
        assert (entry["bytes"], entry["sha256"]) == (len(contents[name]), hashlib.sha256(contents[name]).hexdigest()), (
            name
        )
