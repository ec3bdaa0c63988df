"""Errors that a person can act on: what is wrong, and what to do. docs/guarantees.md lists the exit codes."""

import errno
import re
from collections.abc import Iterator

CANNOT_WRITE = {
    errno.ENOSPC: "make room: the disk is full, or has no inode left",
    errno.EDQUOT: "make room: this user's quota is used up",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or that of the file system",
    errno.EROFS: "mount it for writing, or choose another home with --home or BOUNCEHOUSE_HOME",
    errno.EACCES: "choose a home that this user may write to, with --home or BOUNCEHOUSE_HOME",
    errno.EPERM: "choose a home that this user may write to, with --home or BOUNCEHOUSE_HOME",
}
"""What to do when nothing can be written, by the operating system's number of the error."""

_SAID = {
    re.compile(f"(?:IO|FATAL|TransactionContext) Error: .*{words}"): number
    for words, number in {
        "No space left on device": errno.ENOSPC,
        "Disk quota exceeded": errno.EDQUOT,
        "File too large": errno.EFBIG,
        "Read-only file system": errno.EROFS,
        "Permission denied": errno.EACCES,
        "Operation not permitted": errno.EPERM,
    }.items()
}
"""What DuckDB says instead of it."""

WORD = re.compile(r"[^\s<>\"'`(),:;=\[\]{}|\\]+")
"""A stretch that an address may be. Looked for with its @, it would take time by the square of the length."""


def mask_addresses(text: str) -> str:
    """The text with `<address>` for whatever may be one, for logs: they are kept, and sent on, as data is not."""
    return WORD.sub(lambda match: "<address>" if "@" in match[0] else match[0], text) if "@" in text else text


class ActionableError(Exception):
    """`cause` is one line, `remedy` the next; `exit_code` is what the command ends with.

    `details` are for `--verbose` and Prefect's artifact alone: they may hold addresses.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str, details: str = "") -> None:
        super().__init__(cause, remedy, details)
        self.cause = cause
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}"


class WrongUsageError(ActionableError):
    """An argument that cannot be meant."""

    exit_code = 2


class RunActiveError(ActionableError):
    """Another run works on the same home."""

    exit_code = 3


class NotExportedError(ActionableError):
    """The new state is published, but the files under `exports/` are still the old ones."""

    exit_code = 4


class CannotWriteError(ActionableError):
    """There is no room, or no permission, to write."""

    exit_code = 6


def remedy_of(number: int | None) -> str:
    """What to do about an error of the operating system while writing."""
    return CANNOT_WRITE.get(number or 0, CANNOT_WRITE[errno.EACCES])


def find_write_problem(error: BaseException) -> int | None:
    """The number of the operating system's error for which a write failed, if one is among an error's causes."""
    for each in _causes(error):
        if isinstance(each, OSError) and each.errno in CANNOT_WRITE:
            return each.errno
        if number := read_write_problem(str(each)):
            return number
    return None


def read_write_problem(said: str) -> int | None:
    """The same for what DuckDB says, itself or through dbt."""
    return next((number for words, number in _SAID.items() if words.search(said)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
