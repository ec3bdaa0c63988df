"""What all commands have in common: the home option, the settings made of it, and words on standard error."""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.problems import WrongUsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Where the warehouse lives. Default: BOUNCEHOUSE_HOME, else ./data.", show_default=False
    ),
]


ExcelSafeOption = Annotated[
    bool | None,
    typer.Option(
        "--excel-safe/--plain",
        help="CSV: text that a spreadsheet would take for a formula begins with an apostrophe, also an address; or all"
        " text exact, for machines. Default: addresses exact, other text safe.",
        show_default=False,
    ),
]


def make_settings(home: Path | None, **values: Any) -> "Settings":
    """Settings of what was given, the environment and the defaults; `WrongUsageError` names what cannot be meant."""
    from pydantic import ValidationError

    from flows.settings import Settings

    given = {name: value for name, value in {"home": home, **values}.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise WrongUsageError(
            f"{name} cannot be {first['input']!r}: {first['msg']}",
            f"correct it, or BOUNCEHOUSE_{name.upper()} in the environment",
        ) from error
    os.umask(settings.umask)  # of this process, which is the command's own, and of its children
    return settings


def say(text: str, *, keep_lines: bool = False) -> None:
    """Print a line to standard error, with nothing in it that could act on the terminal or pass for a line of ours."""
    from flows.tables import show_plainly

    print(show_plainly(text, keep_lines=keep_lines), file=sys.stderr)


def print_csv(table: "pa.Table", **options: Any) -> None:
    """Write CSV to standard output: as it is, or where that is a terminal with nothing in it that could act."""
    from io import BytesIO

    from flows.exports.csv_file import write_csv
    from flows.tables import show_plainly

    if not sys.stdout.isatty():
        write_csv(table, sys.stdout.buffer, **options)
        return
    written = BytesIO()
    write_csv(table, written, **options)
    text = written.getvalue().decode("utf-8-sig").replace("\r\n", "\n")
    print(show_plainly(text, keep_lines=True), end="")


def to_json(value: object) -> str:
    """What JSON has no form for: times are UTC and say so."""
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else str(value)
