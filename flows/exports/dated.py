"""Dated copies of the exports, `exports/dated/<day>/`: what was told of each day, under names that stay as they are.

A copy is a hard link where the file system has them, so it costs no room until the file at the stable path is
replaced. The day is the last that the file's report covers; of a list, the newest day with data. A later run of the
same day replaces its copies. Each folder has a manifest of its own.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

from flows.exports.files import remove_leftovers, stage_files
from flows.exports.manifest import MANIFEST_NAME, Entries, find_size, read_entries, write_manifest
from flows.failpoints import failpoint
from flows.settings import Settings

FOLDER = "dated"


def keep_copies(
    settings: Settings,
    days: Mapping[str, date],
    entries: Entries,
    publication: Mapping[str, object],
    newest: date,
    dropped_before: date | None,
) -> None:
    """Copy the files in `days` to the folders of their days, and remove folders that are older than is asked for.

    `dropped_before` is the day before which retention drops messages: copies of reports that cover days before it go,
    as replies of those messages stand in them.
    """
    mode = 0o666 & ~settings.umask
    dated = settings.exports / FOLDER
    written = set()
    for day in sorted(set(days.values())) if settings.dated_exports_days else ():
        folder = dated / day.isoformat()
        with stage_files(folder) as staged:
            names = [name for name in days if days[name] == day]
            for name in names:
                copy_file(settings.exports / name, staged, folder)
            new = {name: entries[name] for name in names}
            write_manifest(staged, folder, publication, {**find_kept(folder), **new}, mode)
        written.add(day)
    for day, folder in find_folders(settings):
        is_old = day <= newest - timedelta(days=settings.dated_exports_days) and day not in written
        if is_old or (day not in written and is_dropped(folder, dropped_before)):
            shutil.rmtree(folder)
    mend_manifests(settings)


def find_folders(settings: Settings) -> Iterator[tuple[date, Path]]:
    """The folders of days, the oldest first; what else somebody keeps there is passed over."""
    dated = settings.exports / FOLDER
    for path in sorted(dated.iterdir()) if dated.is_dir() else ():
        try:
            yield date.fromisoformat(path.name), path
        except ValueError:
            continue


def copy_file(source: Path, staged: Path, folder: Path) -> None:
    """Put a file beside those in the folder, or in the place of its namesake; by hard link where that is possible."""
    target, temporary = folder / source.name, staged / source.name
    try:
        os.link(source, temporary)
    except OSError:  # a file system without links, or no more of them for this file
        shutil.copy2(source, temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
    temporary.replace(target)
    failpoint("export.copied")


def find_kept(folder: Path) -> Entries:
    """What the folder's manifest tells of files that are there."""
    return {name: entry for name, entry in read_entries(folder).items() if (folder / name).is_file()}


def is_dropped(folder: Path, dropped_before: date | None) -> bool:
    """Whether a report in the folder covers days before that one."""
    days = [entry["first_day"] for entry in read_entries(folder).values() if "first_day" in entry]
    return dropped_before is not None and min(days, default="9999") < dropped_before.isoformat()


def mend_manifests(settings: Settings) -> None:
    """Make all manifests tell what lies beside them, where an erasure, or somebody, has changed or removed files.

    Told by the size: what erases puts something of another length. A day of which nothing is left goes.
    """
    for _, folder in find_folders(settings):
        remove_leftovers(folder)
        mend_manifest(settings, folder)
        if not read_entries(folder):
            shutil.rmtree(folder)
    mend_manifest(settings, settings.exports)


def mend_manifest(settings: Settings, folder: Path) -> None:
    """Replace what a folder's manifest tells of its files, and leave the rest of it."""
    entries = read_entries(folder)
    mended = {
        name: entry if entry.get("bytes") == (folder / name).stat().st_size else {**entry, **find_size(folder / name)}
        for name, entry in find_kept(folder).items()
    }
    if mended == entries:
        return
    content = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    publication = {name: value for name, value in content.items() if name not in ("manifest_version", "files")}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new.", suffix=".tmp") as staged:
        write_manifest(Path(staged), folder, publication, mended, 0o666 & ~settings.umask)
