"""Tables for people, by Rich in the terminal and as Markdown in Prefect's artifacts. Log text is never obeyed."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 160
"""Columns of a table that is piped or written to a file, where Rich would assume 80."""

_ACTING_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories of what is not seen but acts: escapes, bidirectional overrides, zero width, line separators."""


def show_plainly(text: str, *, keep_lines: bool = False) -> str:
    r"""Give the text with every character that could act on a terminal spelled out (`\x1b`, `\u202e`).

    `keep_lines` leaves line feeds.
    """
    shown = text.replace("\n", "") if keep_lines else text
    if shown.isascii() and shown.isprintable():
        return text
    return "".join(
        character
        if (keep_lines and character == "\n") or unicodedata.category(character) not in _ACTING_CATEGORIES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def show_value(value: object) -> str:
    """Give a cell as a person reads it: nothing for null, thousands apart, times to the second, nothing that acts."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return show_plainly(str(value))


def make_console(*, to_stderr: bool = False) -> Console:
    """Make a console that never interprets markup, and is wide when nobody watches."""
    console = Console(stderr=to_stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, markup=False, highlight=False, emoji=False, width=WIDTH_WITHOUT_TERMINAL)
    return console


def print_table(
    console: Console,
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    numeric: Sequence[str] = (),
    drawn: Mapping[str, str] | None = None,
) -> None:
    """Print rows under headers; columns named in `numeric` are set to the right and never folded.

    Nor are those in `drawn`, which hold drawings, in the colour that it says. A cell may be a `Text` of its own.
    """
    if title:
        console.print(Text(show_plainly(title)))
    table = Table(header_style="bold")
    for header in headers:
        if header in numeric:
            table.add_column(Text(header), justify="right", no_wrap=True)
        elif drawn and header in drawn:
            table.add_column(Text(header), no_wrap=True, style=drawn[header])
        else:
            table.add_column(Text(header), overflow="fold")
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else Text(show_value(value)) for value in row))
    console.print(table)


def escape_markdown(value: object) -> str:
    """Give a cell of a Markdown table that holds no markup, link or HTML: all punctuation as character references."""
    return re.sub(r"[^0-9A-Za-z \u0080-\U0010ffff]", lambda match: f"&#{ord(match[0])};", show_value(value))


def make_markdown_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Make a Markdown table (GitHub's form), every cell escaped."""
    lines = [
        "| " + " | ".join(escape_markdown(header) for header in headers) + " |",
        "|" + " --- |" * len(headers),
        *("| " + " | ".join(escape_markdown(value) for value in row) + " |" for row in rows),
    ]
    return "\n".join(lines)
