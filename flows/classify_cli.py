"""The command `classify`. Imports that take time are made inside it, as in flows/cli.py."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import HomeOption, make_settings, say
from flows.problems import WrongUsageError

if TYPE_CHECKING:
    from flows.compare import Comparison


class JudgementFormat(StrEnum):
    """Values of `--format` of `classify`."""

    jsonl = "jsonl"
    table = "table"


def classify(
    file: Annotated[
        Path | None,
        typer.Argument(help="Replies, one a line; - or nothing is standard input.", show_default=False),
    ] = None,
    output_format: Annotated[
        JudgementFormat, typer.Option("--format", help="JSON lines for programs, a table for people.")
    ] = JudgementFormat.jsonl,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="An older bounce_rules.csv: tell which texts change their reason from it to the rules in force. Of"
            " FILE, if one is given (- is standard input), else of all that is published, and then also which addresses"
            " would come on the suppression list or leave it under policy `recipient`.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Tell what the rules say of SMTP replies: the reason, the rule, and whether policy `recipient` would suppress.

    Input is plain lines, or JSON lines of "text" with "id" and "mx_host" if you have them, in UTF-8.
    """
    from contextlib import nullcontext

    from flows.classify import classify as judge
    from flows.dbt_project import find_project_directory

    project, target = find_project_directory(), sys.stdout.buffer
    if compare is not None and file is None:
        from flows.compare import compare_published

        database = make_settings(home).published_database
        say(_describe_comparison(compare_published(database, target, project, compare, output_format.value)))
        return
    try:
        opened = nullcontext(sys.stdin.buffer) if file in (None, Path("-")) else file.open("rb")  # type: ignore[union-attr]
    except OSError as error:
        raise WrongUsageError(f"cannot read {file}: {error.strerror}", "give a file of replies, one a line") from error
    with opened as source:
        if compare is None:
            judge(source, target, project, output_format.value)
        else:
            from flows.compare import compare_replies

            say(_describe_comparison(compare_replies(source, target, project, compare, output_format.value)))


def _describe_comparison(comparison: "Comparison") -> str:
    said = f"{comparison.changed_texts:,} of {comparison.texts:,} texts change their reason"
    if comparison.entering is None:
        return f"{said}, of {comparison.changed_events:,} replies"
    return (
        f"{said}, of {comparison.changed_events:,} events; under policy recipient {comparison.entering:,} addresses"
        f" would come on the suppression list, {comparison.leaving:,} would leave it"
    )
