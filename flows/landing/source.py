"""What a source tells landing about itself: its fields, the form of its files, and the SQL that judges a record."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from flows.sql import one_of, quote, text

COMMON_COLUMNS = {
    "source_file": "VARCHAR",
    "file_digest": "VARCHAR",
    "record_number": "BIGINT",
    "record_part": "INTEGER",
    "landed_at": "TIMESTAMP",
}
"""Columns that every landing file has after the vendor's fields, with their DuckDB types."""

NOT_AN_OBJECT = "not a JSON object"
"""A reason of the first judgement, of which `json_text.split_line` may still make records."""


CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
DATE = r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
"""Patterns of a time and of a day from 2000 on, as ISO 8601 writes them: for lines that are read by pattern alone."""


@dataclass(frozen=True)
class Context:
    """What a judgement needs besides the record itself.

    `is_tried` says that a text may prove to be no JSON. Where it is false, such a text fails the whole statement.
    """

    landed_at: datetime
    anchor_date: date
    is_tried: bool = True


@dataclass(frozen=True)
class Source:
    """One kind of log.

    `judge` gives the SQL of CTEs that begin with a relation `lines` (of `lines.SCHEMA`; for `table` sources with the
    fields as text columns too) and end with one named `judged`: the fields, `record_number`, `record_part`, `line`,
    `raw` and `reject_reason`, null where the record lands.
    `list_key` is the key under which an object of this source may hold many records, such as a page of events.
    For `lines` sources, `line_prefix` is the pattern a file of theirs is known by, at the begin of some line, and
    `line_kind` its description; `is_finished` tells whether a last line without a newline is whole.
    """

    name: str
    form: Literal["json", "lines", "table", "mail"]
    fields: tuple[str, ...]
    judge: Callable[[Context], str]
    field_types: tuple[tuple[str, str], ...] = ()
    list_key: str | None = None
    line_prefix: str = ""
    line_kind: str = ""
    is_finished: Callable[[bytes], bool] = lambda line: True

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a landing file and their DuckDB types, in order."""
        return dict.fromkeys(self.fields, "VARCHAR") | dict(self.field_types) | COMMON_COLUMNS


def json_object(context: Context, column: str, keys: tuple[str, ...], wrapper: tuple[str, ...] = ()) -> str:
    """A struct of the keys of a JSON object, all text and null where absent; null where there is no JSON object.

    Nested values stay JSON text. Of a key that is there twice the first counts. Integers keep every digit. `wrapper` is
    the way to the object with the keys, if that is inside another; where nothing is there, the struct is null.
    """
    structure = "{" + ", ".join(f'"{key}": "VARCHAR"' for key in keys) + "}"
    for key in reversed(wrapper):
        structure = f'{{"{key}": {structure}}}'
    inside = "".join(f".{quote(key)}" for key in wrapper)
    found = f"json_transform({column}, {text(structure)})"
    found = (f"try({found})" if context.is_tried else found) + inside
    # `ltrim` copies: only for what does not begin at once
    return f"""case
                when starts_with({column}, '{{') then {found}
                when starts_with(ltrim({column}), '{{') then {found}
            end"""


def time_reason(column: str, context: Context) -> str:
    """Branches of a `case` for a time that no working clock would have written; the column is timestamptz or null.

    Before 2000, or more than a day after landing: such a time would move the source's data-through time.
    """
    return f"""when {column} < timestamptz '2000-01-01 00:00:00+00' then 'time before 2000: ' || {column}::varchar
            when {column} > timestamptz {text(context.landed_at.isoformat(sep=" ") + "+00")} + interval 1 day
                then 'time more than a day after landing: ' || {column}::varchar"""


def is_past(column: str, context: Context) -> str:
    """SQL: whether a text that begins with `DATE` and goes on with a time surely passes `time_reason`.

    Days of all months before the day of landing do, in any zone: half a day west of Greenwich, yesterday ends at noon.
    Of the others the time must be computed, which costs more than all the rest of a line.
    """
    return f"{column} < {text(context.landed_at.date())} and substr({column}, 9, 2) <= '28'"


def judge_objects(
    context: Context,
    fields: tuple[str, ...],
    *,
    kind: str,
    event_kinds: tuple[str, ...],
    ignored_kinds: tuple[str, ...],
    recipient: str,
    time: str,
    wrapper: tuple[str, ...] = (),
    body: str = "line",
) -> str:
    """The judgement of a source whose records are one JSON object each.

    `kind`, `recipient` and `time` are SQL over the fields: what the record is, whom it names and when it happened, the
    last as seconds since 1970 or ISO 8601. `wrapper` is the way to the object with the fields where another may hold
    it; `body` is SQL over `line` for what is not found that way. The whole line stays there as `record`.
    """
    parsed = f"parsed as (select *, {json_object(context, 'line', fields)} as object from lines)"
    if wrapper:
        # Of what is no object a struct of nulls is made.
        is_wrapped = f"(coalesce({', '.join(f'wrapped.{quote(field)}' for field in fields)}) is not null)"
        # Most lines of a file are of one form, so that each is parsed once.
        parsed = f"""unwrapped as (
        select
            *,
            case
                when contains(line, {text(f'"{wrapper[-1]}"')}) then {json_object(context, "line", fields, wrapper)}
            end as wrapped,
        from lines
    ),
    opened as (
        select *, {is_wrapped} as is_wrapped, case when not {is_wrapped} then {body} end as body
        from unwrapped
    ),
    parsed as (
        select
            * exclude (wrapped, is_wrapped, body),
            case when is_wrapped then wrapped else {json_object(context, "body", fields)} end as object,
        from opened
    )"""
    return f"""
    {parsed},
    spread as (
        select * exclude (object), unnest(object), object is not null as is_object
        from parsed
    ),
    told as (
        select
            *,
            {kind} as told_kind,
            nullif({recipient}, '') as told_recipient,
            coalesce(
                try(to_timestamp(try_cast({time} as double))), try_cast({time} as timestamptz)
            ) as happened_at,
        from spread
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when not is_object then {text(NOT_AN_OBJECT)}
                when told_kind is null then 'no record type'
                when told_kind not in {one_of(event_kinds + ignored_kinds)}
                    then 'unknown record type ''' || {shown("told_kind")} || ''''
                when told_kind in {one_of(event_kinds)} and told_recipient is null then 'no recipient'
                when told_kind in {one_of(event_kinds)} and happened_at is null then 'no time'
                {time_reason("happened_at", context)}
            end as reject_reason,
            line as record,
        from told
    )"""


def shown(column: str) -> str:
    """A value as part of a reason, cut short: reasons are read by people."""
    return f"left({column}, 60)"
