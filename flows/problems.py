"""Errors that a person can act on: what is wrong, and what to do."""


class ActionableError(Exception):
    """`cause` is one line, `remedy` the next; `exit_code` is what the command ends with."""

    exit_code = 1

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}\n{remedy}")
        self.cause = cause
        self.remedy = remedy


class WrongUsageError(ActionableError):
    """An argument that cannot be meant."""

    exit_code = 2


class RunActiveError(ActionableError):
    """Another run works on the same home."""

    exit_code = 3


class NotExportedError(ActionableError):
    """The new state is published, but the files under `exports/` are still the old ones."""

    exit_code = 4
