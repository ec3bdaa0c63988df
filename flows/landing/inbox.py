"""What lies in the inbox and may be new: a walk, and a cache that spares reading again what has not changed."""

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flows.failpoints import failpoint
from flows.landing.content import describe_mode
from flows.landing.loads import Landed, Load
from flows.landing.temporary import remove_leftovers
from flows.settings import ACTIONS, SOURCES, Settings
from flows.sources import FILE_NAME, read_sources

UNFINISHED = (".tmp", ".part", ".filepart")
"""Endings of files that somebody is still copying into the inbox."""

SETTLED_SECONDS = 2
"""A file changed so recently may change again within the resolution of its time stamp, and is not cached."""


class InboxMissing(Exception):  # noqa: N818 - the name says what is wrong
    """There is no inbox where the settings say; an empty one is no error."""


@dataclass(frozen=True)
class Arrival:
    """A file that may be new. `stamp` is its size, modification time (ns) and inode when it was seen."""

    source_name: str
    path: Path
    source_file: str
    file_bytes: int
    stamp: tuple[int, int, int]
    is_settled: bool


@dataclass(frozen=True)
class Known:
    """A file whose content is landed already, under whatever name it came."""

    source_file: str
    file_digest: str


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read at all; the next run tries it again."""

    source_file: str
    message: str


@dataclass
class Arrivals:
    """What a look into the inbox found."""

    files: list[Arrival] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    unknown_folders: list[str] = field(default_factory=list)
    unchanged_count: int = 0


def find_arrivals(settings: Settings, *, is_tidied: bool = True) -> Arrivals:
    """Files under `inbox/<source>/` and `actions/` that may be new, sorted by source and name.

    Passed over are hidden names and those of unfinished copies (`UNFINISHED`), and files that the cache knows to be
    landed and unchanged. What a killed run left half-written is removed first, unless the home is only to be looked at
    (`is_tidied`). Raises `InboxMissing`.
    """
    if is_tidied:
        remove_leftovers(settings)
    further = read_sources(settings)
    if not settings.inbox.is_dir() and not any(further.of(source_name).folders for source_name in SOURCES):
        raise InboxMissing(
            f"no inbox at {settings.inbox}: make it and put each sender's logs into a folder named "
            f"{', '.join(SOURCES)}, or name another home (--home, BOUNCEHOUSE_HOME)"
        )
    arrivals = Arrivals()
    seen = read_seen(settings)
    now_ns = time.time_ns()
    entries = list(os.scandir(settings.inbox)) if settings.inbox.is_dir() else []
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.name in SOURCES and Path(entry).is_dir():
            walk(settings, Path(entry), entry.name, arrivals, seen, now_ns)
        elif entry.is_dir():
            arrivals.unknown_folders.append(safe_name(entry.name))
        else:
            message = "lies beside the folders of the sources; move it into one of them"
            arrivals.unreadable.append(Unreadable(safe_name(entry.name), message))
    for source_name in SOURCES:
        for folder in further.of(source_name).folders:
            top = settings.root / folder  # an absolute folder stays what it is
            if top.is_dir():
                walk(settings, top, source_name, arrivals, seen, now_ns, name=str(top))
            else:
                message = f"no such folder; {FILE_NAME} names it for {source_name}"
                arrivals.unreadable.append(Unreadable(safe_name(str(top)), message))
    look_at_actions(settings, arrivals, seen, now_ns)
    return arrivals


def find_actions(settings: Settings) -> Arrivals:
    """As `find_arrivals`, of the files of actions only."""
    arrivals = Arrivals()
    look_at_actions(settings, arrivals, read_seen(settings), time.time_ns())
    return arrivals


def look_at_actions(
    settings: Settings, arrivals: Arrivals, seen: dict[str, tuple[tuple[int, ...], str]], now_ns: int
) -> None:
    """Add what the folder of actions holds."""
    if settings.actions.is_dir():
        walk(settings, settings.actions, ACTIONS, arrivals, seen, now_ns)


def walk(
    settings: Settings,
    top: Path,
    source_name: str,
    arrivals: Arrivals,
    seen: dict[str, tuple[tuple[int, ...], str]],
    now_ns: int,
    name: str | None = None,
) -> None:
    """Add what one source's folder holds, at any depth, without following links that leave it.

    Files are called by `name` (of the source, unless given) and what follows the folder.
    """
    name = name or source_name
    landed = Landed(settings, source_name)
    for path in find_files(top, name, arrivals):
        source_file = safe_name(f"{name}/{str(path)[len(str(top)) :].lstrip('/')}")
        try:
            status = path.stat()
        except OSError as error:
            target = "its link leads nowhere" if path.is_symlink() else error.strerror or str(error)
            arrivals.unreadable.append(Unreadable(source_file, f"cannot be read: {target}"))
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(top.resolve()):
            message = "a link that leads out of the inbox; put the file there, or a hard link to it"
            arrivals.unreadable.append(Unreadable(source_file, message))
        elif stat.S_ISDIR(status.st_mode):
            continue  # a link to a folder that is walked under its own name
        elif not stat.S_ISREG(status.st_mode):
            arrivals.unreadable.append(Unreadable(source_file, f"is {describe_mode(status.st_mode)}, not a file"))
        elif source_name == ACTIONS and path.suffix != ".jsonl":
            arrivals.unreadable.append(Unreadable(source_file, "actions are read from files named *.jsonl"))
        else:
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
            before, digest = seen.get(source_file, ((), ""))
            if before == stamp and landed.find(digest):
                arrivals.unchanged_count += 1
                continue
            is_settled = now_ns - status.st_mtime_ns > SETTLED_SECONDS * 1_000_000_000
            arrivals.files.append(Arrival(source_name, path, source_file, status.st_size, stamp, is_settled))


def find_files(top: Path, called: str, arrivals: Arrivals) -> Iterator[Path]:
    """Everything below a folder that is not a folder itself, in the order of names."""

    def report(error: OSError) -> None:
        name = f"{called}/{Path(os.fsdecode(error.filename)).relative_to(top)}"
        arrivals.unreadable.append(Unreadable(safe_name(name), f"cannot be read: {error.strerror}"))

    for folder, folders, files in os.walk(top, onerror=report):
        # Links to folders are not walked into, and are looked at like files.
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if {"cur", "new", "tmp"} <= set(folders):  # a Maildir: what is in tmp is still being delivered
            folders.remove("tmp")
        for name in sorted([*files, *links]):
            if not name.startswith(".") and not name.lower().endswith(UNFINISHED):
                yield Path(folder, name)


def safe_name(name: str) -> str:
    r"""A name that can be stored and printed: bytes that are no UTF-8 and control characters as `\x..`."""
    if name.isascii() and name.isprintable():
        return name
    decoded = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in decoded)


def read_seen(settings: Settings) -> dict[str, tuple[tuple[int, ...], str]]:
    """The cache: by name, the stamp and the digest of the content. Empty where it is missing or damaged."""
    try:
        entries = json.loads((settings.state / "seen.json").read_bytes())["files"]
        return {name: (tuple(stamp), digest) for name, (stamp, digest) in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def remember(settings: Settings, outcomes: Iterable[tuple[Arrival, Load | Known | Unreadable]]) -> None:
    """Add what was landed, or found to be landed, to the cache; once a run, by one process.

    Forgotten files cost a look at their content and change nothing: the load records are what decides.
    """
    seen = read_seen(settings)
    for arrival, outcome in outcomes:
        if arrival.is_settled and not isinstance(outcome, Unreadable):
            seen[arrival.source_file] = (arrival.stamp, outcome.file_digest)
    settings.state.mkdir(parents=True, exist_ok=True)
    fresh = settings.state / "seen.json.tmp"
    fresh.write_text(json.dumps({"files": seen}), encoding="utf-8")
    failpoint("landing.seen_written")
    fresh.replace(settings.state / "seen.json")
