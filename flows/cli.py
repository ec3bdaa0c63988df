"""The `bouncehouse` command. Imports that take time are made inside the commands, so that `--help` answers at once."""

import json
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flows import __version__
from flows.classify_cli import classify
from flows.cli_options import HomeOption, to_json
from flows.cli_options import make_settings as _make_settings
from flows.cli_options import say as _say
from flows.privacy_cli import erase, retention
from flows.problems import (
    ActionableError,
    CannotWriteError,
    WrongUsageError,
    find_write_problem,
    mask_addresses,
    remedy_of,
)
from flows.report_cli import print_report, report
from flows.suppression_cli import suppression_app

if TYPE_CHECKING:
    from flows.run_result import RunResult
    from flows.settings import Settings

EXIT_CODES = """
Exit codes: 0 done and, for a run, published. 1 failed; nothing was published. 2 wrong usage. 3 another run is active.
4 published, but the files under exports/ could not be written. 5 what has landed is damaged, and its raw files are not
in the inbox; nothing was published. 6 cannot write: no room, or no permission. 130 interrupted. What to do next is on
standard error, more with --verbose.
"""

VERBOSE = "--verbose"
INTERRUPTED = 130

_CLICK_ERROR: Any = typer.BadParameter.__mro__[2]
"""What typer raises for arguments that it cannot read; it gives the class no public name."""

TABLE_ROWS = 20
SHOWN_FILES = 20

app = typer.Typer(
    name="bouncehouse",
    help="A warehouse for email bounces: delivery logs in, the bounces report and a suppression list out.",
    epilog=EXIT_CODES.strip(),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(suppression_app, name="suppression")


InboxOption = Annotated[
    Path | None,
    typer.Option("--inbox", help="Read raw logs from this folder instead of <home>/inbox.", show_default=False),
]


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"bouncehouse {__version__}")
        raise typer.Exit


@app.command(epilog=EXIT_CODES.strip())
def run(
    home: HomeOption = None,
    inbox: InboxOption = None,
    full_refresh: Annotated[bool, typer.Option(help="Build everything again from what has landed.")] = False,
    test_whole: Annotated[
        bool, typer.Option(help="Test all rows, not only those that this run can have changed: done weekly anyway.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Queue behind a run that is active, instead of ending.")] = False,
    verbose: Annotated[bool, typer.Option(help="Show Prefect's log lines, and whole tracebacks.")] = False,
) -> None:
    """Land what is new in the inbox, build, test, publish and export; end with the bounces report."""
    from flows.dbt_process import warm_dbt
    from flows.lock import check_lock, find_active_run
    from flows.prefect_server import set_environment, use_server
    from flows.progress import show_progress
    from flows.room import check_room, find_shortage
    from flows.run_result import run_without_news

    settings = _make_settings(home, inbox_directory=inbox)
    if not wait:
        check_lock(settings)
    elif active := find_active_run(settings):
        _say(f"waiting for another run: {active}")
    check_room(settings)
    if not (full_refresh or test_whole) and (result := run_without_news(settings, wait=wait)):
        _print_run(settings, result)
        return
    set_environment(settings, verbose=verbose)
    warm_dbt(settings.dbt_target)  # while Prefect starts
    try:
        with use_server(settings):
            from flows.daily import daily

            with show_progress():
                result = daily(
                    home=settings.root,
                    full_refresh=full_refresh,
                    report_days=settings.report_days,
                    suppression_policy=settings.suppression_policy,
                    inbox=settings.inbox,
                    wait=wait,
                    test_whole=test_whole,
                )
    except Exception as error:
        # Prefect's server fails in ways of its own, or does not start, when its database cannot be written
        is_vague = type(error) is ActionableError or not isinstance(error, ActionableError)
        if is_vague and (shortage := find_shortage(settings)):
            raise CannotWriteError(
                f"the run failed, as the home {settings.root} cannot be written to: {shortage}",
                "make room there, then run again: it goes on where this one was",
            ) from error
        raise
    _print_run(settings, result)


def _print_run(settings: "Settings", result: "RunResult") -> None:
    from flows.report import Selection, choose_period, hold_readable, open_published
    from flows.report import report as make_report
    from flows.restatements import count_restated
    from flows.tables import show_plainly

    landed = sum(load.records_landed for load in result.loads)
    rejected = sum(load.records_rejected for load in result.loads)
    cut = [load for load in result.loads if not load.is_complete]
    print(
        f"Landed    {len(result.loads):,} new files: {landed:,} records, {rejected:,} rejected,"
        f" {len(cut):,} files cut short"
    )
    for load in cut[:SHOWN_FILES]:
        _say(f"cut short: {load.source_file}: {load.message}")
    if len(cut) > SHOWN_FILES:
        _say(f"{len(cut) - SHOWN_FILES:,} more files are cut short; marts.ops_loads names them")
    for file in result.unreadable:
        _say(f"could not be read, and will be tried again: {file.source_file}: {file.message}")
    for folder in result.unknown_folders:
        _say(f"passed over: no source is called {folder!r}")
    for note in result.build.notes:
        _say(f"note: {note}")
    if result.dropped:
        print(
            f"Dropped   {result.dropped.events:,} events and {result.dropped.files:,} landed files of messages that"
            f" ended before {result.dropped.cutoff:%Y-%m-%d}"
        )
    if result.build.is_built:
        print(
            f"Built     {result.build.files:,} files into {result.build.models} models,"
            f" {result.build.tests} tests passed, {result.build.seconds:.1f} s"
        )
        for warning in result.build.warnings:
            _say(f"warning: {warning}")
    else:
        print("Built     nothing: there is nothing new")
    print(f"Published {show_plainly(str(settings.published_database))}")
    with hold_readable(settings) as database:
        with open_published(database) as connection:
            print(f"Restated  {_describe_restated(*count_restated(connection))}")
        print(f"Exported  {len(result.exports)} files to {show_plainly(str(settings.exports))}\n")
        first_day, last_day = choose_period(database, first_day=None, last_day=None, days=settings.report_days)
        selection = Selection(first_day, last_day)
        table = make_report(database, selection, with_days=True)
    print_report(selection, table, limit=TABLE_ROWS)


def _describe_restated(figures: int, days: int) -> str:
    if not figures:
        return "no figure of a day that was published before"
    return f"{figures:,} figures of {days:,} days that were published before: marts.ops_restatements"


for command in (report, classify, retention, erase):
    app.command()(command)


@app.command()
def status(
    home: HomeOption = None,
    inbox: InboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show sources, files landed and rejected, how far the data goes, the last publication, and what waits."""
    from dataclasses import asdict

    from flows.status import find_status
    from flows.tables import make_console, print_table, show_plainly

    found = find_status(_make_settings(home, inbox_directory=inbox))
    if as_json:
        print(json.dumps(asdict(found), indent=2, default=to_json))
        return
    console = make_console()
    published = found.published
    console.print(f"Home       {show_plainly(str(found.home))}")
    console.print(
        f"Published  {published.published_at:%Y-%m-%d %H:%M:%S} UTC, rules {published.rule_set_version},"
        f" policy {published.suppression_policy}, by bouncehouse {published.bouncehouse_version}"
        if published
        else "Published  nothing yet; start a run: bouncehouse run"
    )
    if published:
        records, events = (sum(getattr(source, name) for source in found.sources) for name in ("records", "events"))
        console.print(
            f"Accounted  {records:,} records read, {events:,} different events;"
            f" {published.differences:,} unaccounted for (marts.ops_reconciliation)"
        )
        console.print(f"Restated   {_describe_restated(published.restated_figures, published.restated_days)}")
    console.print(
        f"Waiting    {found.files_in_inbox_not_landed:,} files to be landed,"
        f" {found.landed_not_published:,} landed files to be published"
    )
    if found.active_run:
        console.print(f"Running    {found.active_run}")
    rows = [asdict(source) for source in found.sources]
    if rows:
        headers = [name for name in rows[0] if name != "last_landed_at"]
        numeric = [name for name in headers if not name.endswith(("_name", "_at"))]
        print_table(
            console,
            [header.removesuffix("_at").replace("_", " ") for header in headers],
            ([row[name] for name in headers] for row in rows),
            numeric=[header.replace("_", " ") for header in numeric],
        )
    else:
        console.print("No source has data, and the inbox is empty.")


@app.command()
def serve(
    home: HomeOption = None,
    inbox: InboxOption = None,
    cron: Annotated[str, typer.Option(help="When to run: five fields of cron, in UTC.")] = "0 6 * * *",
) -> None:
    """Stay, and run daily by a schedule: a Prefect server and runner in one, or the server of PREFECT_API_URL."""
    from flows.prefect_server import set_environment, use_server

    settings = _make_settings(home, inbox_directory=inbox)
    set_environment(settings, verbose=True)
    with use_server(settings) as address:
        from flows.daily import serve_daily

        _say(f"Prefect's API: {address}; stop with Ctrl-C")
        serve_daily(settings, cron=cron)


@app.command()
def generate(
    destination: Annotated[Path, typer.Argument(help="Folder to write to; a folder for each source below it.")],
    messages: Annotated[int, typer.Option(min=1, help="Messages of each source, over all days.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How many days.")] = 7,
    first_day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first of them.")] = datetime(
        2026, 3, 2
    ),
    seed: Annotated[int, typer.Option(help="The same seed gives the same logs.")] = 1,
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source; may be given again. Default: all.", show_default=False)
    ] = None,
    bad_records: Annotated[bool, typer.Option(help="Add records that no reader can take.")] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Also write a Parquet file of the events that a reader should find.")
    ] = None,
) -> None:
    """Write realistic delivery logs of any size, for trials and measurements."""
    from flows.generate import WRITERS
    from flows.generate import generate as write_logs

    for name in source or []:
        if name not in WRITERS:
            raise WrongUsageError(f"no source is called {name!r}", f"choose of {', '.join(WRITERS)}")
    try:
        paths = write_logs(
            destination,
            messages=messages,
            days=days,
            first_day=first_day.date(),
            seed=seed,
            sources=tuple(source or WRITERS),
            bad_records=bad_records,
            truth=truth,
            memory_limit=_make_settings(None).memory_limit,
        )
    except FileExistsError as error:
        raise WrongUsageError(str(error), "nothing was written") from error
    size = sum(path.stat().st_size for path in paths)
    _say(f"wrote {len(paths):,} files, {size:,} bytes, to {destination}")


def main() -> None:
    """Run the command; what goes wrong is told in a line of cause and a line of what to do, on standard error."""
    is_verbose = VERBOSE in sys.argv
    if is_verbose and "run" not in sys.argv:
        sys.argv.remove(VERBOSE)  # only of a run it is an option: of all others it is for what goes wrong
    try:
        if app(standalone_mode=False) == INTERRUPTED:
            _fail("bouncehouse: interrupted; nothing was published", "run again: it goes on where this one was", 130)
    except ActionableError as error:
        if is_verbose:
            _say(f"{traceback.format_exc()}{error.details}", keep_lines=True)
        _fail(f"bouncehouse: {_one_line(error.cause)}", _one_line(error.remedy), error.exit_code)
    except _CLICK_ERROR as error:
        if error.__class__.__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(error.exit_code)
        command = error.ctx.command_path if getattr(error, "ctx", None) else "bouncehouse"
        _fail(f"bouncehouse: {_one_line(error.format_message())}", f"see: {command} --help", error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if is_verbose:
            _say(traceback.format_exc(), keep_lines=True)
        words = (str(error) or "no message", *getattr(error, "__notes__", ()))
        if number := find_write_problem(error):
            _fail(
                f"bouncehouse: cannot write: {mask_addresses(_one_line(', '.join(words)))}",
                f"{remedy_of(number)}; then try again. What was published stays whole",
                CannotWriteError.exit_code,
            )
        _fail(
            f"bouncehouse: {type(error).__name__}: {mask_addresses(_one_line(', '.join(words)))}",
            "nothing was published; run again with --verbose for the traceback, and report it if it stays",
            1,
        )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(cause: str, remedy: str, exit_code: int) -> NoReturn:
    _say(cause)
    _say(f"-> {remedy}")
    sys.exit(exit_code)
