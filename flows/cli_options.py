"""What all commands have in common: the home option, the settings made of it, and words on standard error."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.problems import WrongUsageError

if TYPE_CHECKING:
    from flows.settings import Settings

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Where the warehouse lives. Default: BOUNCEHOUSE_HOME, else ./data.", show_default=False
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


def say(text: str) -> None:
    """Print to standard error, with nothing in it that could act on the terminal."""
    from flows.tables import show_plainly

    print(show_plainly(text, keep_lines=True), file=sys.stderr)
