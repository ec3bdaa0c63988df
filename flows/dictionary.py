"""The data dictionary, docs/data_dictionary.md: what a published database says of its own marts.

`python -m flows.dictionary DATABASE FILE` writes it (`make docs` does, from the samples); a test says when that was
forgotten.
"""

import html
import re
import sys
from pathlib import Path
from typing import Any

import duckdb

from flows.sql import quote

VOLATILE = {
    "landed_at",
    "last_landed_at",
    "source_file",
    "source_record",
    "build_id",
    "built_at",
    "published_at",
    "rule_set_version",
    "bouncehouse_version",
}
"""Columns that differ from one build of the same logs to the next, or whenever the rules do: no example is shown."""

KINDS = {
    "fct_": ("Facts", "one row for each thing that happened"),
    "dim_": ("Dimensions", "what facts speak of, and the lists"),
    "rpt_": ("Reports", "counts by day, and what is read off them"),
    "ops_": ("Operations", "what was read, what it came to, what is left to do"),
}
LONGEST_EXAMPLE = 60

HEADER = """# Data dictionary

Made by `make docs` from the published database of the samples: change descriptions in `models/marts/`, not here.
All marts are in the schema `marts` of `bouncehouse.duckdb`; clients show the same descriptions as comments of tables
and columns. Times are UTC. Examples are of one row, the one that has most to show; `…` stands for what differs from
build to build. Questions that the marts answer, with their SQL: [questions.md](questions.md).
"""


def write_dictionary(database: Path) -> str:
    """Markdown for all marts of a published database and its macros; the same for the same logs, wherever built."""
    with duckdb.connect(database, read_only=True) as connection:
        descriptions = dict(
            connection.execute(
                """select table_name, comment from duckdb_tables() where schema_name = 'marts'
                union all
                select view_name, comment from duckdb_views() where schema_name = 'marts'"""
            ).fetchall()
        )
        pages = [HEADER]
        for prefix, (title, what) in KINDS.items():
            pages.append(f"\n## {title}: {what}\n")
            pages += [
                _describe(connection, mart, str(descriptions[mart] or ""))
                for mart in sorted(descriptions)
                if mart.startswith(prefix)
            ]
        pages.append("\n## Macros: to be called from SQL\n\n| macro | parameters |\n| --- | --- |\n")
        macros = connection.execute(
            """select function_name, list_aggregate(parameters, 'string_agg', ', ')
            from duckdb_functions()
            where schema_name = 'marts' and function_type in ('macro', 'table_macro')
            order by all"""
        ).fetchall()
        pages += [f"| `marts.{name}` | {_plain(parameters)} |\n" for name, parameters in macros]
    return "".join(pages)


def _describe(connection: duckdb.DuckDBPyConnection, mart: str, description: str) -> str:
    columns = connection.execute(
        """select column_name, data_type, comment
        from duckdb_columns()
        where schema_name = 'marts' and table_name = ?
        order by column_index""",
        [mart],
    ).fetchall()
    example = _find_example(connection, mart, [name for name, _, _ in columns if name not in VOLATILE])
    rows = [
        f"| `{name}` | {kind.lower()} | {_plain(comment)} | {_show(example, name)} |\n"
        for name, kind, comment in columns
    ]
    return (
        f"\n### {mart}\n\n{' '.join(description.split())}\n\n"
        "| column | type | what it is | example |\n| --- | --- | --- | --- |\n" + "".join(rows)
    )


def _find_example(connection: duckdb.DuckDBPyConnection, mart: str, columns: list[str]) -> dict[str, Any]:
    """The row with the fewest nulls, and of those the first in order, by what is the same in every build; as text."""
    named = ", ".join(map(quote, columns))
    filled = " + ".join(f"({quote(column)} is not null)::integer" for column in columns) or "0"
    texts = ", ".join(f"cast({quote(column)} as varchar) as {quote(column)}" for column in columns)
    found = connection.execute(
        f"select {texts} from (select * from marts.{quote(mart)} order by {filled} desc, {named or '1'} limit 1)"
    )
    row = found.fetchone()
    return dict(zip(columns, row, strict=True)) if row else {}


def _show(example: dict[str, Any], column: str) -> str:
    if column in VOLATILE:
        return "…"
    value = example.get(column)
    if value is None:
        return ""
    text = " ".join(str(value).split())
    return _literal(text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…")


def _literal(text: str) -> str:
    """What a remote server wrote, as neither HTML nor Markdown: whatever could act stands as its number."""
    if re.fullmatch(r"[\w .,:;/@=+…-]+", text):
        return f"`{text}`"
    literal = "".join(
        character if character.isalnum() or character in " .,:;/@=+-…" else f"&#{ord(character)};" for character in text
    )
    return f"<code>{literal}</code>"


def _plain(text: str | None) -> str:
    """A description of ours: its Markdown stays, a table's bars do not."""
    return html.escape(" ".join((text or "").split()), quote=False).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(write_dictionary(Path(sys.argv[1])), encoding="utf-8")
