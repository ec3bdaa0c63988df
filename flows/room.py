"""Whether a home can be written to, found out before anything is begun and when something has failed."""

import errno
import os
from contextlib import suppress

from flows.problems import CannotWriteError, remedy_of
from flows.settings import Settings

PROBE_NAME = ".probe"
PROBE_BYTES = 8 << 20
"""Prefect's database and the caches want about so much before the first log is read, and the smallest build more."""


def check_room(settings: Settings) -> None:
    """Write a small file into the home and remove it again; `CannotWriteError` says why that is not possible."""
    probe = settings.root / PROBE_NAME
    try:
        try:
            settings.root.mkdir(parents=True, exist_ok=True)
            with probe.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):
                probe.unlink()
    except OSError as error:
        raise CannotWriteError(
            f"cannot write to the home {settings.root}: {error.strerror}", f"{remedy_of(error.errno)}; then run again"
        ) from error


def find_shortage(settings: Settings) -> str | None:
    """Say what the home's disk is short of now, if it is: programs that a run has to do with fail in odd ways then."""
    try:
        check_room(settings)
    except CannotWriteError as error:
        cause = error.__cause__
        return os.strerror(cause.errno or errno.ENOSPC) if isinstance(cause, OSError) else None
    return None
