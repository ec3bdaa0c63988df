"""What has landed and is not as its load record says: files that are cut, lost or unreadable, found and named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.landing.loads import (
    PACK_PREFIX,
    Load,
    is_whole,
    landing_path,
    load_path,
    read_record,
    rejects_path,
)
from flows.problems import ActionableError
from flows.settings import ACTIONS, SOURCES, Settings

SHOWN = 10
"""Damaged files that a message names."""
ASIDE = ".damaged"


@dataclass(frozen=True)
class Damage:
    """Files in landing that cannot be used, whose content has not landed otherwise.

    `digests` are those of the raw files that were in them, as far as that can be told; `source_files` their names.
    """

    path: Path
    what: str
    digests: frozenset[str]
    source_files: tuple[str, ...]

    def describe(self, settings: Settings) -> str:
        """Say in a line what is wrong, and which raw files it was made from."""
        listed = ", ".join(self.source_files[:SHOWN]) or f"the file of digest {', '.join(sorted(self.digests)) or '?'}"
        more = f" and {len(self.source_files) - SHOWN} more" if len(self.source_files) > SHOWN else ""
        return f"{self.path.relative_to(settings.root)} {self.what} (landed from {listed}{more})"


class LandingDamagedError(ActionableError):
    """Building would lose the records of damaged files, as their raw files are not in the inbox either."""

    exit_code = 5

    def __init__(self, settings: Settings, damages: Sequence[Damage]) -> None:
        named = "; ".join(damage.describe(settings) for damage in damages[:SHOWN])
        more = f"; and {len(damages) - SHOWN} more" if len(damages) > SHOWN else ""
        super().__init__(
            f"what has landed is damaged: {named}{more}; nothing was published",
            "put these raw files into the inbox again (or the files below landing/ and rejects/ from a backup) and run"
            " again: they are landed anew. To give the records up, remove what is named so in landing/ and rejects/",
        )


def find_damages(settings: Settings, loads: Iterable[Load]) -> list[Damage]:
    """Look for load records beyond those of `loads`, which have landed: their files are not as they were written.

    To be asked after landing: what could be landed again is no damage any more.
    """
    whole: dict[str, set[str]] = {}
    for load in loads:
        whole.setdefault(load.source_name, set()).update((load.file_digest, load.landing_name))
    damages = []
    for source_name in (*SOURCES, ACTIONS):
        good = whole.get(source_name, set())
        for path in sorted((settings.landing / source_name).glob("*.json")):
            damage = examine(settings, source_name, path) if path.stem not in good else None
            # the contents of a pack may have been landed again, in others
            if damage is not None and not (damage.digests and damage.digests <= good):
                damages.append(damage)
    return damages


def examine(settings: Settings, source_name: str, record: Path) -> Damage | None:
    """Say what is wrong with the files of a load record; None where nothing is."""
    loads = read_record(record)
    if loads and is_whole(settings, loads):
        return None
    landing = landing_path(settings, source_name, record.stem)
    if not loads:
        digests, names = find_contents([landing, rejects_path(settings, source_name, record.stem)])
        if not record.stem.startswith(PACK_PREFIX):
            digests |= {record.stem}
        return Damage(record, "is not readable as a load record", frozenset(digests), tuple(sorted(names)))
    if not landing.exists():
        path, what = landing, "is gone"
    elif landing.stat().st_size != loads[0].landing_bytes:
        path, what = landing, f"has {landing.stat().st_size:,} bytes and not the {loads[0].landing_bytes:,} written"
    else:
        path, what = rejects_path(settings, source_name, record.stem), "is gone"
    return make_damage(path, what, loads)


def make_damage(path: Path, what: str, loads: Iterable[Load]) -> Damage:
    """Describe the damage of a file that holds the records of some loads."""
    loads = list(loads)
    return Damage(
        path, what, frozenset(load.file_digest for load in loads), tuple(sorted(load.source_file for load in loads))
    )


def find_contents(paths: Iterable[Path]) -> tuple[set[str], set[str]]:
    """Digests and names of the raw files of which some Parquet files hold records; of damaged ones nothing."""
    digests: set[str] = set()
    names: set[str] = set()
    for path in paths:
        try:
            table = pq.read_table(path, columns=["file_digest", "source_file"], partitioning=None)
        except (OSError, pa.ArrowException):
            continue
        digests |= {str(digest) for digest in table.column("file_digest").unique().to_pylist()}
        names |= {str(name) for name in table.column("source_file").unique().to_pylist()}
    return digests, names


def set_unreadable_aside(settings: Settings, batch: Iterable[Load]) -> list[Damage]:
    """Read all files of a batch of which a build could not read some, and set those aside, so that they can land anew.

    Their size is right, so that nothing but reading shows it.
    """
    by_name: dict[tuple[str, str], list[Load]] = {}
    for load in batch:
        by_name.setdefault((load.source_name, load.landing_name), []).append(load)
    damages = []
    for (source_name, name), loads in by_name.items():
        for path in (landing_path(settings, source_name, name), rejects_path(settings, source_name, name)):
            if not path.exists():
                continue
            try:
                with pq.ParquetFile(path) as file:
                    for _ in file.iter_batches():
                        pass
            except (OSError, pa.ArrowException) as error:
                path.rename(path.with_name(path.name + ASIDE))
                said = str(error).splitlines()[0][:200]
                recorded = read_record(load_path(settings, source_name, name)) or loads
                damages.append(make_damage(path, f"cannot be read: {said}; it is now named {ASIDE}", recorded))
    return damages
