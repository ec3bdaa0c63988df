"""The `bouncehouse suppression` commands. Imports that take time are made inside them, as in flows/cli.py."""

import os
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import ExcelSafeOption, HomeOption, make_settings, print_csv, say
from flows.problems import WrongUsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.suppression.list_files import ReadOptions

LIST_ROWS = 100
JSON_BATCH_ROWS = 10_000

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]

suppression_app = typer.Typer(
    help="Who is not to be mailed, and why: the administrator's suppression list, and the users' own global one.",
    no_args_is_help=True,
)


class ListName(StrEnum):
    """Values of `--list`."""

    suppression = "suppression"
    global_ = "global"


class CheckedLists(StrEnum):
    """Values of `--list` of `check`."""

    both = "both"
    suppression = "suppression"
    global_ = "global"


class ListFormat(StrEnum):
    """Values of `--format` of `list`."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


class ExportFormat(StrEnum):
    """Values of `--format` of `export`."""

    csv = "csv"
    xlsx = "xlsx"
    parquet = "parquet"


class ImportFormat(StrEnum):
    """Values of `--format` of `import`."""

    auto = "auto"
    postal = "postal"
    sendgrid = "sendgrid"
    mailgun = "mailgun"
    ses = "ses"
    sparkpost = "sparkpost"
    postmark = "postmark"
    mandrill = "mandrill"
    lines = "lines"


class HashName(StrEnum):
    """Values of `--hash`."""

    plain = "plain"
    sha256 = "sha256"
    md5 = "md5"
    hmac_sha256 = "hmac-sha256"


class LayoutName(StrEnum):
    """Values of `--layout`."""

    plain = "plain"
    sendgrid = "sendgrid"
    mailgun = "mailgun"
    ses = "ses"
    sparkpost = "sparkpost"
    postmark = "postmark"
    mandrill = "mandrill"
    postal = "postal"


ByOption = Annotated[str, typer.Option(help="Who decides.")]
WhyOption = Annotated[str, typer.Option(help="Why.")]
ListOption = Annotated[
    ListName, typer.Option("--list", help="The administrator's list, or that of people who asked not to be mailed.")
]
ColumnOption = Annotated[
    str | None,
    typer.Option(
        help="Name of the column with the addresses, or its number from 1. Default: by its name.", show_default=False
    ),
]
EncodingOption = Annotated[
    str | None, typer.Option(help="Encoding of the file. Default: found out.", show_default=False)
]
DelimiterOption = Annotated[
    str | None, typer.Option(help="What parts the columns. Default: found out.", show_default=False)
]
HeaderOption = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first line names the columns. Default: found out."),
]


@suppression_app.command("list")
def suppression_list(
    home: HomeOption = None,
    list_name: ListOption = ListName.suppression,
    domain: Annotated[
        str | None, typer.Option(help="Only addresses of this recipient domain.", show_default=False)
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            help="Only with this reason of the bounce, such as user_unknown, or cause: hard_bounce, administrator,"
            " import, complaint, unsubscribe.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Only on it since then or later, UTC.", show_default=False)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=TIMES, help="Only on it since before then, UTC.", show_default=False)
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Only for a bounce in this source's logs.", show_default=False)
    ] = None,
    output_format: Annotated[
        ListFormat, typer.Option("--format", help="A table for people, CSV or JSON lines of all for programs.")
    ] = ListFormat.table,
    limit: Annotated[int, typer.Option(min=1, help="Most rows of the table.")] = LIST_ROWS,
    is_excel_safe: ExcelSafeOption = None,
) -> None:
    """List the addresses that are not to be mailed, as of now."""
    from flows.exports.csv_file import csv_profile
    from flows.suppression.questions import Filters, list_suppressed
    from flows.tables import make_console, print_table

    filters = Filters(list_name=list_name.value, domain=domain, reason=reason, since=since, until=until, source=source)
    is_table = output_format is ListFormat.table
    table, total = list_suppressed(make_settings(home), filters, limit if is_table else None)
    if output_format is ListFormat.csv:
        print_csv(table, **csv_profile(is_excel_safe))
    elif output_format is ListFormat.jsonl:
        _print_json_lines(table)
    else:
        print_table(make_console(), table.column_names, (list(row.values()) for row in table.to_pylist()))
    shown = (
        "" if table.num_rows == total else f"; the first {table.num_rows:,} are shown, others with --limit or --format"
    )
    say(f"{total:,} addresses{shown}")


def _print_json_lines(table: "pa.Table") -> None:
    import json

    for batch in table.to_batches(max_chunksize=JSON_BATCH_ROWS):
        for row in batch.to_pylist():
            if row["suppressed_at"] is not None:
                row["suppressed_at"] = f"{row['suppressed_at'].isoformat()}Z"
            print(json.dumps(row, ensure_ascii=True))


@suppression_app.command("why")
def suppression_why(address: str, home: HomeOption = None) -> None:
    """Show all that is known of an address, oldest first, with the replies, and whether it is on a list."""
    from flows.suppression.current import describe_state
    from flows.suppression.questions import find_history
    from flows.tables import show_plainly, show_value

    history = find_history(make_settings(home), address)
    for event in history.events:
        list_name = "global list" if event.pop("list_name") == "global" else "suppression list"
        mark = "  (pending: the next run takes it in)" if event.pop("is_pending") else ""
        print(
            f"{event.pop('occurred_at'):%Y-%m-%d %H:%M:%S} UTC  {show_plainly(event.pop('action'))}, {list_name}{mark}"
        )
        for name, value in event.items():
            if value is not None:
                print(f"    {name.replace('_', ' ')}: {show_value(value)}")
    if not history.events:
        say(f"{history.address} has never been on a list")
        return
    for list_name, state in history.states.items():
        say(f"{history.address}, {list_name} list: {describe_state(state)}")


@suppression_app.command("check")
def suppression_check(
    file: Annotated[Path, typer.Argument(help="CSV or lines of addresses; - is standard input.")],
    home: HomeOption = None,
    allowed: Annotated[
        Path | None,
        typer.Option(
            help="Where the allowed go; - is standard output. Default: <file>.allowed.csv.", show_default=False
        ),
    ] = None,
    suppressed: Annotated[
        Path | None, typer.Option(help="Where the suppressed go. Default: <file>.suppressed.csv.", show_default=False)
    ] = None,
    invalid: Annotated[
        Path | None,
        typer.Option(help="Where what is no address goes. Default: <file>.invalid.csv.", show_default=False),
    ] = None,
    lists: Annotated[CheckedLists, typer.Option("--list", help="Which lists count.")] = CheckedLists.both,
    column: ColumnOption = None,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = None,
) -> None:
    """Divide a mailing list into what may be mailed, what may not, and what is no address; other columns are kept."""
    from flows.suppression.check import check

    given = {"allowed": allowed, "suppressed": suppressed, "invalid": invalid}
    result = check(
        make_settings(home),
        file,
        targets={name: path for name, path in given.items() if path is not None},
        options=_read_options(column, encoding, delimiter, header),
        which=lists.value,
    )
    say(f"{result.records:,} records, of {file}")
    for name, amount in (("allowed", result.allowed), ("suppressed", result.suppressed), ("invalid", result.invalid)):
        details = {"suppressed": result.by_list, "invalid": result.problems}.get(name, {})
        listed = ", ".join(f"{count:,} {what}" for what, count in details.items())
        say(f"{amount:,} {name}{f' ({listed})' if listed else ''}: {result.paths[name]}")
    _say_pending(result.pending_count)


def _read_options(
    column: str | None, encoding: str | None, delimiter: str | None, header: bool | None
) -> "ReadOptions":
    from flows.suppression.list_files import ReadOptions

    return ReadOptions(column, encoding, "\t" if delimiter in ("\\t", "tab") else delimiter, header)


def _say_pending(count: int) -> None:
    if count:
        say(f"{count:,} actions count in this already that no run has taken in yet")


@suppression_app.command("add")
def suppression_add(
    address: str, by: ByOption, reason: WhyOption, home: HomeOption = None, list_name: ListOption = ListName.suppression
) -> None:
    """Put an address on a list."""
    _record_action("add", address, by=by, reason=reason, home=home, list_name=list_name)


@suppression_app.command("remove")
def suppression_remove(
    address: str, by: ByOption, reason: WhyOption, home: HomeOption = None, list_name: ListOption = ListName.suppression
) -> None:
    """Take an address off a list. A later hard bounce puts it on the suppression list again."""
    _record_action("remove", address, by=by, reason=reason, home=home, list_name=list_name)


def _record_action(action: str, address: str, *, by: str, reason: str, home: Path | None, list_name: ListName) -> None:
    from flows.suppression.actions import write_action
    from flows.suppression.current import describe_state
    from flows.suppression.questions import find_history

    settings = make_settings(home)
    is_published = settings.published_database.is_file()
    before = find_history(settings, address).states[list_name.value] if is_published else None
    path, address = write_action(
        settings,
        "add" if action == "add" else "remove",
        address,
        by=by,
        reason=reason,
        list_name=list_name.value,
    )
    say(f"recorded in {path}: {action} {address}, {list_name.value} list")
    if is_published:
        if (before is not None) == (action == "add"):
            say(f"note: it was {'already' if before else 'not'} on the list")
        after = find_history(settings, address).states[list_name.value]
        say(f"{list_name.value} list: {describe_state(after)}")
    say("list, why, check and export tell it from now on; the marts and the report after the next run")


@suppression_app.command("import")
def suppression_import(
    file: Annotated[Path, typer.Argument(help="A list as another system exports it; - is standard input.")],
    by: ByOption,
    reason: WhyOption,
    home: HomeOption = None,
    list_name: Annotated[
        ListName | None,
        typer.Option(
            "--list",
            help="Where all of it goes. Default: complaints and unsubscribes to the global list, the rest to the"
            " suppression list.",
            show_default=False,
        ),
    ] = None,
    vendor: Annotated[ImportFormat, typer.Option("--format", help="Whose export it is.")] = ImportFormat.auto,
    column: ColumnOption = None,
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
) -> None:
    """Put the addresses of another system's list on a list."""
    from flows.suppression.imports import import_list

    result = import_list(
        make_settings(home),
        file,
        by=by,
        reason=reason,
        list_name=list_name.value if list_name else None,
        vendor=vendor.value,
        options=_read_options(column, encoding, delimiter, header),
        dry_run=dry_run,
    )
    say(f"{result.rows:,} entries, read as {result.origin}")
    for name in result.new:
        say(f"{name} list: {result.new[name]:,} new, {result.known[name]:,} there already")
    for amount, what in ((result.repeated, "repeated"), (result.expired, "expired there, left out")):
        if amount:
            say(f"{amount:,} {what}")
    if result.invalid:
        say(f"{result.invalid:,} invalid, left out:")
        for place, written, problem in result.samples:
            say(f"    record {place:,}: {written!r}: {problem}")
    if dry_run:
        say("nothing was written (--dry-run)")
    else:
        say(f"recorded in {result.path}" if result.path else "nothing was written: there is nothing new")


@suppression_app.command("export")
def suppression_export(
    path: Annotated[Path, typer.Argument(help="The file to write.")],
    home: HomeOption = None,
    output_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Default: by the ending of the file, else csv.", show_default=False),
    ] = None,
    hashed: Annotated[
        HashName,
        typer.Option("--hash", help="Write hashes of the addresses; hmac-sha256 by the key in BOUNCEHOUSE_EXPORT_KEY."),
    ] = HashName.plain,
    layout: Annotated[LayoutName, typer.Option(help="As this provider imports it.")] = LayoutName.plain,
    list_name: ListOption = ListName.suppression,
    since: Annotated[
        datetime | None,
        typer.Option(formats=TIMES, help="Only what was added or removed since then, UTC.", show_default=False),
    ] = None,
    is_excel_safe: ExcelSafeOption = None,
) -> None:
    """Write a list, or what has changed of it, to a file that only its owner can read.

    Erased addresses stand in it as pseudonyms; hashes and providers' layouts leave them out.
    """
    from flows.suppression.exports import KEY_NAME, export_list

    by_ending = {f".{each.value}": each for each in ExportFormat}.get(path.suffix.lower(), ExportFormat.csv)
    rows = export_list(
        make_settings(home),
        path,
        format_name=(output_format or by_ending).value,
        hashed=hashed.value,
        layout=layout.value,
        list_name=list_name.value,
        since=since,
        key=os.environ.get(KEY_NAME),
        is_excel_safe=is_excel_safe,
    )
    say(f"wrote {rows:,} rows to {path}")


@suppression_app.command("recover")
def suppression_recover(
    from_at: Annotated[datetime, typer.Option("--from", formats=TIMES, help="Begin of the wave, UTC.")],
    until_at: Annotated[datetime, typer.Option("--until", formats=TIMES, help="End of it, UTC, exclusive.")],
    home: HomeOption = None,
    domain: Annotated[str | None, typer.Option(help="Only this recipient domain.", show_default=False)] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="Only this provider, such as google or microsoft, by its MX hosts.", show_default=False),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Only replies with a match of this regular expression (RE2).", show_default=False)
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only bounces of this reason, such as user_unknown.", show_default=False)
    ] = None,
    margin_hours: Annotated[
        float, typer.Option(help="How long after the wave its out-of-band bounces may still come.")
    ] = 72,
    is_applied: Annotated[bool, typer.Option("--apply", help="Do it. Without, only show what it would do.")] = False,
    by: Annotated[str | None, typer.Option(help="Who decides; with --apply.", show_default=False)] = None,
    why: Annotated[str | None, typer.Option(help="Why; with --apply.", show_default=False)] = None,
) -> None:
    """Disregard the hard bounces of a provider's bad day: addresses that nothing else holds leave the list."""
    from flows.suppression.recovery import Recovery, apply, preview
    from flows.tables import make_console, print_table

    settings = make_settings(home)
    if is_applied and (by is None or why is None):
        raise WrongUsageError("--apply needs --by and --why", "the ledger records who decided and why: give both")
    recovery = Recovery(
        from_at=from_at,
        until_at=until_at,
        margin_hours=margin_hours,
        recipient_domain=domain,
        provider=provider,
        pattern=pattern,
        bounce_reason=reason,
    )
    found = preview(settings, recovery)
    console = make_console()
    if found.groups:
        print_table(
            console, ["by", "value", "bounces", "addresses"], found.groups, numeric=["bounces", "addresses"],
            title="addresses that leave the list",
        )  # fmt: skip
    if found.samples:
        print_table(console, ["address", "bounced_at", "reply"], found.samples, title="some of them")
    say(f"{found.bounces:,} hard bounces are covered; {found.leaving:,} addresses leave the list")
    for cause, amount in found.staying.items():
        say(f"{amount:,} addresses stay on it, held by: {cause}")
    if found.already_off:
        say(f"{found.already_off:,} addresses were not on it any more")
    if is_applied:
        path = apply(settings, recovery, by=by or "", why=why or "")
        say(f"recorded in {path}; list, why, check and export tell it from now on")
    else:
        say("nothing was changed; do it with --apply --by NAME --why REASON")
