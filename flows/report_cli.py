"""The command `report`, and the table that it and a run print. Slow imports are made inside, as in flows/cli.py."""

from dataclasses import replace
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flows.cli_options import HomeOption, make_settings, print_csv, say
from flows.problems import WrongUsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from flows.exports.contents import Format
    from flows.report import Selection


class Grouping(StrEnum):
    """Values of `--group-by`."""

    from_domain = "from_domain"
    sending_ip = "sending_ip"


class BounceClass(StrEnum):
    """Values of `--class`."""

    soft = "soft"
    hard = "hard"
    all = "all"


class ReportFormat(StrEnum):
    """Values of `--format`."""

    table = "table"
    csv = "csv"
    xlsx = "xlsx"
    parquet = "parquet"


def report(
    home: HomeOption = None,
    first: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            help="First day, inclusive. Default: 30 days up to --to.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to",
            formats=["%Y-%m-%d"],
            help="Last day, inclusive. Default: the newest day with data.",
            show_default=False,
        ),
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(help="Only this campaign. Default: all campaigns.", show_default=False)
    ] = None,
    group_by: Annotated[Grouping, typer.Option(help="What the rows are grouped by.")] = Grouping.from_domain,
    bounce_class: Annotated[
        BounceClass | None,
        typer.Option("--class", help="Which bounces. Default: soft; with --undeliveries all.", show_default=False),
    ] = None,
    undeliveries: Annotated[
        bool, typer.Option("--undeliveries", help="Count what finally did not arrive, with its cause.")
    ] = False,
    time_zone: Annotated[str, typer.Option(help="IANA name of the zone whose days are meant.")] = "UTC",
    output_format: Annotated[
        ReportFormat | None,
        typer.Option("--format", help="Default: by the ending of --out, else a table.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write. CSV without it goes to standard output.", show_default=False)
    ] = None,
    is_excel_safe: Annotated[
        bool,
        typer.Option(
            "--excel-safe/--plain",
            help="CSV for spreadsheets, where text that would be taken for a formula begins with an apostrophe, and the"
            " file with a byte order mark; or the exact text, for machines.",
        ),
    ] = True,
) -> None:
    """Count bounces, or undeliveries, by From domain or sending IP, recipient domain and bounce text."""
    from flows.exports.contents import make_report_export, make_report_workbook, write_export
    from flows.report import Selection, choose_period, find_campaigns, has_campaign

    settings = make_settings(home)
    database = settings.published_database
    chosen_format = _choose_format(output_format, out)
    first_day, last_day = choose_period(
        database,
        first_day=_to_day(first),
        last_day=_to_day(last),
        days=settings.report_days,
        time_zone=time_zone,
    )
    default_class = BounceClass.all if undeliveries else BounceClass.soft
    selection = Selection(
        first_day,
        last_day,
        campaign=campaign,
        group_by=group_by.value,
        bounce_class=(bounce_class or default_class).value,
        is_undeliveries=undeliveries,
        time_zone=time_zone,
    )
    export = make_report_export(database, selection, excel_safe=is_excel_safe)
    if chosen_format is ReportFormat.table:
        print_report(selection, export.table)
    elif out is None:
        print_csv(export.table, excel_safe=is_excel_safe)
    else:
        if chosen_format is ReportFormat.xlsx:
            other = replace(selection, group_by="sending_ip" if group_by is Grouping.from_domain else "from_domain")
            both = [export, make_report_export(database, other)]
            written = make_report_workbook(database, selection, both)
        else:
            written = export
        write_export(written, out, cast("Format", chosen_format.value))
        say(f"wrote {export.table.num_rows:,} rows to {out}")
    if export.table.num_rows == 0:
        say(f"no {selection.describe()}: the report is empty")
        if campaign is not None and not has_campaign(database, campaign):
            known = ", ".join(repr(name) for name in find_campaigns(database)) or "none"
            say(f"no campaign is called {campaign!r}; campaigns with most bounces: {known}")


def _to_day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _choose_format(output_format: ReportFormat | None, out: Path | None) -> ReportFormat:
    if output_format is None:
        if out is None:
            return ReportFormat.table
        try:
            output_format = ReportFormat(out.suffix.removeprefix(".").lower())
        except ValueError:
            raise WrongUsageError(
                f"the ending of {out} names no format", "give --format csv, xlsx or parquet, or such an ending"
            ) from None
    if output_format is ReportFormat.table and out is not None:
        raise WrongUsageError("a table is for the terminal, not for --out", "give --format csv, xlsx or parquet")
    if output_format in (ReportFormat.xlsx, ReportFormat.parquet) and out is None:
        raise WrongUsageError(f"--format {output_format.value} needs a file", "say where with --out FILE")
    if out is not None and out.is_dir():
        raise WrongUsageError(f"{out} is a folder", "give --out the name of a file")
    return output_format


def print_report(selection: "Selection", table: "pa.Table", *, limit: int | None = None) -> None:
    import pyarrow.compute as pc

    from flows.tables import make_console, print_table

    # a whole message is too long for a line, and a class that all rows share is in the title
    shown = table.drop_columns(["sample_message", *(["bounce_class"] if selection.bounce_class != "all" else [])])
    console = make_console()
    print_table(
        console,
        shown.column_names,
        (list(row.values()) for row in shown.slice(0, limit).to_pylist()),
        title=selection.describe(),
        numeric=["amount"],
    )
    total = pc.sum(table.column("amount")).as_py() or 0
    rows = f"{min(limit or table.num_rows, table.num_rows):,} of {table.num_rows:,} rows"
    console.print(f"{total:,} {selection.subject} in all; {rows} shown")
