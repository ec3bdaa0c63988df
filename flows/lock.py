"""One run at a time for each home: a lock that dies with its process, and a note beside it of who holds it."""

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from flows.problems import ActionableError, RunActiveError
from flows.settings import Settings

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.holder"


@contextmanager
def hold_lock(settings: Settings, *, wait: bool = False) -> Iterator[None]:
    """Hold the home's lock while the block runs; `RunActiveError` names the run that has it, unless `wait`.

    The operating system drops the lock when its process ends, however it ends, so a killed run never blocks the next.
    """
    try:
        settings.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.root / LOCK_NAME)
        lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
    except Timeout:
        raise RunActiveError(
            f"another run works on {settings.root}: {describe_holder(settings)}",
            "wait for it to end, or start with --wait to queue behind it",
        ) from None
    except OSError as error:
        raise ActionableError(
            f"cannot write to the home {settings.root}: {error.strerror or error}",
            "choose a home that this user may write to, with --home or BOUNCEHOUSE_HOME",
        ) from error
    holder = settings.root / HOLDER_NAME
    try:
        make_private(settings)
        holder.write_text(json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def make_private(settings: Settings) -> None:
    """Take from the home's files what others may do with them: of an older version's, or made by hand."""
    os.umask(settings.umask)
    databases = (settings.work_database, settings.published_database)
    for path in (*settings.folders, *databases):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            mode = path.stat().st_mode & 0o777
            if mode & settings.umask:
                path.chmod(mode & ~settings.umask)


def check_lock(settings: Settings) -> None:
    """Raise `RunActiveError` when another run holds the lock now; cheap, so that a second run can end at once."""
    if (settings.root / LOCK_NAME).exists():
        with hold_lock(settings):
            pass


def find_active_run(settings: Settings) -> str | None:
    """Tell who holds the lock now, or None. Takes nothing for longer than it takes to look."""
    try:
        check_lock(settings)
    except RunActiveError:
        return describe_holder(settings)
    except ActionableError:
        return None  # a home that cannot be written to has no run
    return None


def describe_holder(settings: Settings) -> str:
    """Give `pid 123, since 2026-01-02T03:04:05+00:00`, from the note beside the lock."""
    try:
        note = json.loads((settings.root / HOLDER_NAME).read_text())
        return f"pid {int(note['pid'])}, since {datetime.fromisoformat(note['since']).isoformat()}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has just started, its pid is not written yet"
