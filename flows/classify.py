"""`bouncehouse classify`: replies in, what the rules say of them out.

Only DuckDB is imported, so that the command starts in well under a second.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import duckdb

from flows.problems import WrongUsageError
from flows.rules import LONGEST_REPLY, install

BATCH_SIZE = 20_000
"""Replies judged by one query."""

OutputFormat = Literal["jsonl", "table"]
Columns = tuple[tuple[str, int], ...]
"""Names and widths of a table's columns; the last, of width 0, takes what it needs."""

COLUMNS: Columns = (("bounce_class", 12), ("suppress", 8), ("reason", 17), ("rule_id", 30), ("bounce_text", 0))

_JUDGE = """
    select
        bounce.rule_id, bounce.reason, bounce.suppress, bounce.bounce_class, mask_reply(reply) as bounce_text
    from (
        select position, reply, classify_bounce(reply, mx_host) as bounce
        from (
            select
                unnest(range(len($replies))) as position,
                unnest($replies::varchar[]) as reply,
                unnest($mx_hosts::varchar[]) as mx_host
        )
    )
    order by position
"""


def classify(
    source: BinaryIO,
    target: BinaryIO,
    project_directory: Path,
    output_format: OutputFormat = "jsonl",
) -> int:
    """Reads one reply a line from `source` and writes one judgement a line to `target`, in order; returns their number.

    Both are UTF-8, whatever the locale. `suppress` is judged under policy `recipient`. `read_replies` says what the
    input may be.
    """
    with duckdb.connect() as connection:
        install(connection, project_directory)
        if output_format == "table":
            write_header(target, COLUMNS)
        count = 0
        for batch in read_replies(source):
            count += len(batch)
            for judgement in _judge(connection, batch):
                write_row(target, judgement, COLUMNS, output_format)
            target.flush()
    return count


def read_replies(source: BinaryIO) -> Iterator[list[tuple[Any, str, str | None]]]:
    """(id, reply, MX host) of each line that is not blank, in batches of `BATCH_SIZE`.

    Input that begins with `{` is JSON lines, `{"id", "text", "mx_host"}`, of which only `text` is needed; anything
    else is plain lines, one reply each. `id` defaults to the line's number, from 1. A byte order mark is passed over,
    bytes that are no UTF-8 become U+FFFD, and of a reply more is cut off than the rules would read. A line that is no
    such object is a `WrongUsageError` that names it.
    """
    replies = _read(source)
    while batch := list(islice(replies, BATCH_SIZE)):
        yield batch


def _read(source: BinaryIO) -> Iterator[tuple[Any, str, str | None]]:
    lines: Iterable[tuple[int, str]] = (
        (number, line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip())
        for number, line in enumerate(_refuse_utf_16(source), 1)
    )
    lines = (line for line in lines if line[1])
    first = next(iter(lines), None)
    if first is None:
        return
    is_json = first[1].startswith("{")
    for number, line in chain([first], lines):
        if not is_json:
            yield number, _storable(line), None
            continue
        try:
            case = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise WrongUsageError(
                f"input line {number} is not JSON ({error}); every line must be, as the first one is",
                "mend that line, or leave it out",
            ) from None
        if not isinstance(case, dict) or not isinstance(case.get("text"), str):
            raise WrongUsageError(
                f'input line {number} has no "text": a line is {{"id", "text", "mx_host"}}',
                "mend that line, or leave it out",
            )
        mx_host = case.get("mx_host")
        yield case.get("id", number), _storable(case["text"]), _storable(mx_host) if isinstance(mx_host, str) else None


def _refuse_utf_16(source: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(source):
        if number == 0 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise WrongUsageError("the input is UTF-16", "make it UTF-8: iconv -f utf-16 -t utf-8")
        yield line


def _judge(connection: duckdb.DuckDBPyConnection, batch: list[tuple[Any, str, str | None]]) -> Iterator[dict[str, Any]]:
    parameters = {"replies": [reply for _, reply, _ in batch], "mx_hosts": [mx_host for _, _, mx_host in batch]}
    names = ("rule_id", "reason", "suppress", "bounce_class", "bounce_text")
    for (reply_id, _, _), row in zip(batch, connection.execute(_JUDGE, parameters).fetchall(), strict=True):
        yield {"id": reply_id, **dict(zip(names, row, strict=True))}


def _storable(value: str) -> str:
    """The text without lone surrogates (JSON can write them, DuckDB cannot hold them), and no longer than is judged.

    One character more than that is kept: it tells the mask that the last word is a part of one.
    """
    return value[: LONGEST_REPLY + 1].encode("utf-8", "replace").decode("utf-8")


def write_header(target: BinaryIO, columns: Columns) -> None:
    """Write the first line of a table."""
    write_row(target, {name: name for name, _ in columns}, columns, "table")


def write_row(target: BinaryIO, values: dict[str, Any], columns: Columns, output_format: OutputFormat) -> None:
    """Write all values as a line of JSON, or those of `columns` as a line of a table, in which nothing can act."""
    if output_format == "jsonl":
        line = json.dumps(values, ensure_ascii=False)
        if not line.isprintable():
            # still the same JSON: the C1 controls and the like, which JSON leaves as they are
            line = "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line)
    else:
        from flows.tables import show_plainly

        shown = {True: "yes", False: "no", None: "-"}
        cells = (
            show_plainly(shown[value] if value is None or isinstance(value, bool) else str(value)).ljust(width)
            for value, width in ((values[name], width) for name, width in columns)
        )
        line = "  ".join(cells).rstrip()
    # an id may hold a lone surrogate, which is written as JSON would
    target.write(line.encode("utf-8", "backslashreplace") + b"\n")
