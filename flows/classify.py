"""`bouncehouse classify`: replies in, what the rules say of them out.

Only DuckDB is imported, so that the command starts in well under a second.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO

import duckdb

from flows.rules import install

BATCH_SIZE = 20_000
"""Replies judged by one query."""

COLUMNS = (("bounce_class", 12), ("suppress", 8), ("reason", 17), ("rule_id", 30), ("bounce_text", 0))
"""Columns of the table and their widths; the text, which is last, takes what it needs."""

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
    source: TextIO,
    target: TextIO,
    project_directory: Path,
    output_format: Literal["jsonl", "table"] = "jsonl",
) -> int:
    """Reads one reply a line from `source` and writes one judgement a line to `target`, in order; returns their number.

    Input that begins with `{` is JSON lines, `{"id", "text", "mx_host"}`, of which only `text` is needed; anything
    else is plain lines, one reply each. `id` defaults to the line's number, from 1. Blank lines are skipped.
    `suppress` is judged under policy `recipient`. A line that is no such object raises ValueError and names it.
    """
    with duckdb.connect() as connection:
        install(connection, project_directory)
        if output_format == "table":
            target.write(_row({name: name for name, _ in COLUMNS}))
        count = 0
        replies = _read(source)
        while batch := list(islice(replies, BATCH_SIZE)):
            count += len(batch)
            for judgement in _judge(connection, batch):
                target.write(
                    _row(judgement) if output_format == "table" else json.dumps(judgement, ensure_ascii=False) + "\n"
                )
    return count


def _read(source: TextIO) -> Iterator[tuple[Any, str, str | None]]:
    """(id, reply, MX host) of each line that is not blank."""
    lines: Iterable[tuple[int, str]] = ((number, line.strip()) for number, line in enumerate(source, 1))
    lines = (line for line in lines if line[1])
    first = next(iter(lines), None)
    if first is None:
        return
    is_json = first[1].startswith("{")
    for number, line in chain([first], lines):
        if not is_json:
            yield number, line, None
            continue
        try:
            case = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"input line {number} is not JSON ({error}); every line must be, as the first one is"
            ) from None
        if not isinstance(case, dict) or not isinstance(case.get("text"), str):
            raise ValueError(f'input line {number} has no "text": a line is {{"id", "text", "mx_host"}}')
        mx_host = case.get("mx_host")
        yield case.get("id", number), case["text"], mx_host if isinstance(mx_host, str) else None


def _judge(connection: duckdb.DuckDBPyConnection, batch: list[tuple[Any, str, str | None]]) -> Iterator[dict[str, Any]]:
    parameters = {
        "replies": [_storable(reply) for _, reply, _ in batch],
        "mx_hosts": [mx_host and _storable(mx_host) for _, _, mx_host in batch],
    }
    names = ("rule_id", "reason", "suppress", "bounce_class", "bounce_text")
    for (reply_id, _, _), row in zip(batch, connection.execute(_JUDGE, parameters).fetchall(), strict=True):
        yield {"id": reply_id, **dict(zip(names, row, strict=True))}


def _storable(value: str) -> str:
    """The text without lone surrogates (JSON can write them, DuckDB cannot hold them)."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _row(values: dict[str, Any]) -> str:
    shown = {True: "yes", False: "no", None: "-"}
    cells = (str(shown.get(values[name], values[name])) for name, _ in COLUMNS)
    return "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip() + "\n"


if __name__ == "__main__":
    classify(sys.stdin, sys.stdout, Path(__file__).parent.parent)
