"""Values and names as they stand in SQL: the one place that quotes what cannot be bound as a parameter."""

from collections.abc import Iterable


def text(value: object) -> str:
    """A string literal, of a path too."""
    return "'" + str(value).replace("'", "''") + "'"


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(values: Iterable[object]) -> str:
    """String literals with commas between."""
    return ", ".join(map(text, values))


def one_of(values: Iterable[object]) -> str:
    """The right side of `in`."""
    return f"({listed(values)})"
