"""What an export wrote, and of what: where both are as they were, a run with nothing new need not write it again."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows import __version__
from flows.exports.declared import Declared, read_declared
from flows.notes import stamp_of, write_note
from flows.settings import Settings

NOTE_NAME = "exported.json"
"""In `state/`: a digest of what the exports were made of, the files that were given, and size, time and inode of all
that lay in `exports/` and in the exposures' destinations when that was done."""

CODE = Path(__file__).parent.parent


def remember_written(settings: Settings, declared: Sequence[Declared], paths: Sequence[Path]) -> None:
    """Note that these exports are written, and how everything lies."""
    note = {
        "made_of": digest_sources(settings, declared),
        "paths": [path.relative_to(settings.exports).as_posix() for path in paths],
        "stamps": find_stamps(settings, declared),
    }
    write_note(settings.state / NOTE_NAME, note)


def find_written(settings: Settings) -> list[Path] | None:
    """The files that `export_all` gave, where it would write the same once more; else None."""
    try:
        note = json.loads((settings.state / NOTE_NAME).read_text())
    except (OSError, ValueError):
        return None
    declared = read_declared(settings)
    if not isinstance(note, dict) or note.get("made_of") != digest_sources(settings, declared):
        return None
    if note.get("stamps") != find_stamps(settings, declared):
        return None
    return [settings.exports / path for path in note["paths"]]


def digest_sources(settings: Settings, declared: Sequence[Declared]) -> str:
    """Digest what exports are made of: the published file and this code, by their stamps, declarations and settings.

    Nothing else: what is exported tells of no moment but that of the publication.
    """
    chosen = [settings.report_days, settings.retention_days, settings.dated_exports_days, settings.umask]
    code = [stamp_of(path) for path in sorted(CODE.rglob("*")) if path.suffix in (".py", ".js", ".css", ".html")]
    made_of = [__version__, stamp_of(settings.published_database), [repr(each) for each in declared], chosen, code]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def find_stamps(settings: Settings, declared: Iterable[Declared]) -> dict[str, list[int] | None]:
    """Size, time and inode of every file in `exports/`, and of those in destinations; None of one that is not there."""
    exported = [path for path in settings.exports.rglob("*") if path.is_file()]
    copied = [
        settings.root / folder / name
        for each in declared
        for folder in each.settings.destinations
        for name in each.name_files()
    ]
    return {str(path): stamp_of(path) for path in sorted({*exported, *copied})}
