"""Errors that a person can act on: what is wrong, and what to do."""

import re

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
