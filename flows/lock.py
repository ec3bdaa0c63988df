"""One run at a time for each home: a lock that dies with its process, and a note beside it of who holds it."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from flows.failpoints import failpoint
from flows.problems import ActionableError, CannotWriteError, RunActiveError, mask_addresses, remedy_of
from flows.settings import Settings

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.holder"

LOOK_SECONDS = 0.5
"""How long a run that does not wait tries all the same: whoever only looks holds the lock for an instant."""


@contextmanager
def hold_lock(settings: Settings, *, wait: bool = False) -> Iterator[None]:
    """Hold the home's lock while the block runs; `RunActiveError` names the run that has it, unless `wait`.

    The operating system drops the lock when its process ends, however it ends, so a killed run never blocks the next.
    """
    try:
        settings.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.root / LOCK_NAME)
        lock.acquire(timeout=-1 if wait else LOOK_SECONDS, poll_interval=0.1)
    except Timeout:
        raise RunActiveError(
            f"another run works on {settings.root}: {describe_holder(settings)}",
            "wait for it to end, or start with --wait to queue behind it",
        ) from None
    except OSError as error:
        raise cannot_write(settings, error) from error
    holder = settings.root / HOLDER_NAME
    try:
        make_private(settings)
        failpoint("lock.taken")
        note = {
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            # an address that is to be erased may be among the arguments
            "command": mask_addresses(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        }
        try:
            holder.write_text(json.dumps(note))
        except OSError as error:
            raise cannot_write(settings, error) from error
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def make_private(settings: Settings) -> None:
    """Take from the home's files what others may do with them: of an older version's, or made by hand."""
    os.umask(settings.umask)
    databases = (
        settings.work_database,
        settings.marts_database,
        settings.published_database,
        settings.former_database,
    )
    for path in (*settings.folders, *databases):
        with suppress(FileNotFoundError, PermissionError):
            mode = path.stat().st_mode & 0o777
            if mode & settings.umask:
                path.chmod(mode & ~settings.umask)


def check_lock(settings: Settings) -> None:
    """Raise `RunActiveError` when another run holds the lock now; cheap, so that a second run can end at once."""
    if is_locked(settings):
        raise RunActiveError(
            f"another run works on {settings.root}: {describe_holder(settings)}",
            "wait for it to end, or start with --wait to queue behind it",
        )


def is_locked(settings: Settings) -> bool:
    """Whether a run holds the lock now. Works on a home that cannot be written to as well."""
    try:
        with (settings.root / LOCK_NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no run has ever been here, or none can be
    return False


def find_active_run(settings: Settings) -> str | None:
    """Tell who holds the lock now, or None. Takes nothing for longer than it takes to look."""
    return describe_holder(settings) if is_locked(settings) else None


def describe_holder(settings: Settings) -> str:
    """Give `pid 123, since 2026-01-02T03:04:05+00:00, bouncehouse run`, from the note beside the lock."""
    try:
        note = json.loads((settings.root / HOLDER_NAME).read_text())
        pid, since = int(note["pid"]), datetime.fromisoformat(note["since"])
        with suppress(PermissionError):  # somebody else's
            os.kill(pid, 0)
        return f"pid {pid}, since {since.isoformat()}, {note.get('command') or 'of an older bouncehouse'}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        # a note of a process that is no more is of a killed run before
        return "it has just started, its pid is not written yet"


def cannot_write(settings: Settings, error: OSError) -> ActionableError:
    """The error of a home that cannot be written to."""
    return CannotWriteError(
        f"cannot write to the home {settings.root}: {error.strerror or error}", remedy_of(error.errno)
    )
