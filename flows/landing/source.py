"""What a source tells landing about itself: its fields, the form of its files, and the SQL that judges a record."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

COMMON_COLUMNS = {
    "source_file": "VARCHAR",
    "file_digest": "VARCHAR",
    "record_number": "BIGINT",
    "record_part": "INTEGER",
    "landed_at": "TIMESTAMP",
}
"""Columns that every landing file has after the vendor's fields, with their DuckDB types."""

NOT_AN_OBJECT = "not a JSON object"
SEVERAL_MESSAGES = "holds several messages"
SPLITTABLE = (NOT_AN_OBJECT, SEVERAL_MESSAGES)
"""Reasons of the first judgement that `json_text.split_line` may still make records of."""


@dataclass(frozen=True)
class Context:
    """What a judgement needs besides the record itself."""

    landed_at: datetime
    anchor_date: date


@dataclass(frozen=True)
class Source:
    """One kind of log.

    `judge` gives the SQL of CTEs that begin with a relation `lines` (of `lines.SCHEMA`; for `table` sources with the
    fields as text columns too) and end with one named `judged`: the fields, `record_number`, `record_part`, `line`,
    `raw` and `reject_reason`, null where the record lands.
    """

    name: str
    form: Literal["json", "syslog", "table"]
    fields: tuple[str, ...]
    judge: Callable[[Context], str]
    field_types: tuple[tuple[str, str], ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a landing file and their DuckDB types, in order."""
        return dict.fromkeys(self.fields, "VARCHAR") | dict(self.field_types) | COMMON_COLUMNS


def quote(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string literal in SQL."""
    return "'" + value.replace("'", "''") + "'"


def one_of(values: tuple[str, ...]) -> str:
    """The right side of `in`."""
    return "(" + ", ".join(map(text, values)) + ")"


def json_object(column: str, keys: tuple[str, ...]) -> str:
    """A struct of the keys of a JSON object, all text and null where absent; null where there is no JSON object.

    Nested values stay JSON text. Of a key that is there twice the first counts. Integers keep every digit.
    """
    structure = "{" + ", ".join(f'"{key}": "VARCHAR"' for key in keys) + "}"
    return f"case when starts_with(ltrim({column}), '{{') then try(json_transform({column}, {text(structure)})) end"


def time_reason(column: str, context: Context) -> str:
    """Branches of a `case` for a time that no working clock would have written; the column is timestamptz or null.

    Before 2000, or more than a day after landing: such a time would move the source's data-through time.
    """
    return f"""when {column} < timestamptz '2000-01-01 00:00:00+00' then 'time before 2000: ' || {column}::varchar
            when {column} > timestamptz '{context.landed_at.isoformat(sep=" ")}+00' + interval 1 day
                then 'time more than a day after landing: ' || {column}::varchar"""


def shown(column: str) -> str:
    """A value as part of a reason, cut short: reasons are read by people."""
    return f"left({column}, 60)"
