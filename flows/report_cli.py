"""The command `report`, and the table that it and a run print. Slow imports are made inside, as in flows/cli.py."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flows.cli_options import HomeOption, make_settings, print_csv, say
from flows.problems import WrongUsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.text import Text

    from flows.exports.contents import TableFormat
    from flows.report import Selection


WIDE, NARROW = 140, 70
"""Characters from which drawings are large, and below which there is no room for columns."""
LONGEST_SPARK = 30

COLUMN_WIDTHS = {
    "from_domain": 13, "sending_ip": 13, "recipient_domain": 13, "cause": 11, "bounce_class": 5, "bounce_text": 24,
    "description": 24, "reason": 12, "amount": 6, "bar": 10, "by day": 30,
}  # fmt: skip
"""The columns of the table, in their order, with the characters that each wants at least; what is longer is folded."""
SPARED = ("description", "bar", "cause", "by day", "reason")
"""What a narrow terminal does without, the first first."""


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
    html = "html"


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
    """Count bounces, or undeliveries, by From domain or sending IP, recipient domain and bounce text.

    As html it is a page that holds the whole period, to choose, sort and look in with any browser.
    """
    from flows.exports.contents import make_report_export, make_report_workbook, write_export
    from flows.report import Selection, choose_period, find_campaigns, has_campaign
    from flows.report import report as make_report

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
    if chosen_format is ReportFormat.html and out is not None:
        from flows.page import write_page

        if campaign or bounce_class or undeliveries or group_by is not Grouping.from_domain or time_zone != "UTC":
            raise WrongUsageError(
                "a page holds bounces and undeliveries of every campaign, class and group, in UTC",
                "leave out all but --from, --to and --out, and choose in the page",
            )
        counts = write_page(database, out, first_day, last_day)
        say(f"wrote the page of {first_day} to {last_day}, {sum(counts.values()):,} rows, to {out}")
        return
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
    if chosen_format is ReportFormat.table:
        table = make_report(database, selection, with_days=True)
    else:
        export = make_report_export(database, selection, excel_safe=is_excel_safe)
        table = export.table
    if chosen_format is ReportFormat.table:
        print_report(selection, table)
    elif out is None:
        print_csv(table, excel_safe=is_excel_safe)
    else:
        if chosen_format is ReportFormat.xlsx:
            other = replace(selection, group_by="sending_ip" if group_by is Grouping.from_domain else "from_domain")
            both = [export, make_report_export(database, other)]
            written = make_report_workbook(database, selection, both)
        else:
            written = export
        write_export(written, out, cast("TableFormat", chosen_format.value))
        say(f"wrote {table.num_rows:,} rows to {out}")
    if table.num_rows == 0:
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
                f"the ending of {out} names no format", "give --format csv, xlsx, parquet or html, or such an ending"
            ) from None
    if output_format is ReportFormat.table and out is not None:
        raise WrongUsageError("a table is for the terminal, not for --out", "give --format csv, xlsx, parquet or html")
    if output_format in (ReportFormat.xlsx, ReportFormat.parquet, ReportFormat.html) and out is None:
        raise WrongUsageError(f"--format {output_format.value} needs a file", "say where with --out FILE")
    if out is not None and out.is_dir():
        raise WrongUsageError(f"{out} is a folder", "give --out the name of a file")
    return output_format


def print_report(selection: "Selection", table: "pa.Table", *, limit: int | None = None) -> None:
    """Print a report that has `amounts_by_day`: a bar beside each amount, and its course over the period's days.

    A narrow terminal is spared the columns that say least; a very narrow one has all but the amount in one.
    """
    import pyarrow.compute as pc

    from flows.drawing import draw_bar, draw_spark, spread_days
    from flows.tables import make_console, print_table

    console = make_console()
    is_ascii = console.options.ascii_only
    bar_width, spark_width = (10, 30) if console.width >= WIDE else (6, 10)
    spark_width = min(selection.days, spark_width)
    largest = pc.max(table.column("amount")).as_py() or 0
    rows = table.slice(0, limit).to_pylist()
    for row in rows:
        row["bar"] = draw_bar(row["amount"], largest, bar_width, is_ascii=is_ascii)
        by_day = spread_days(dict(row["amounts_by_day"]), selection.days, spark_width)
        row["by day"] = draw_spark(by_day, is_ascii=is_ascii)
    names = [name for name in COLUMN_WIDTHS if name in (*table.column_names, "bar", "by day")]
    if selection.bounce_class != "all":
        names.remove("bounce_class")  # all rows share it: it is in the title
    if console.width < NARROW:
        columns = [f"{selection.group_by}, recipient_domain, reason, bounce_text", "amount"]
        shown = ([stack_row(selection, row), row["amount"]] for row in rows)
    else:
        widths = {"amount": len(f"{largest:,}"), "bar": bar_width, "by day": spark_width}
        columns = choose_columns(names, widths, console.width)
        shown = ([row[name] for name in columns] for row in rows)
    drawn = {"bar": "cyan", "by day": "green"}
    print_table(console, columns, shown, title=selection.describe(), numeric=["amount"], drawn=drawn)
    if rows:
        counts = add_up_days(table)
        spark = draw_spark(spread_days(counts, selection.days, LONGEST_SPARK), is_ascii=is_ascii)
        day, most = max(counts.items(), key=lambda each: (each[1], -each[0]))
        console.print(f"by day {spark} most on {selection.first_day + timedelta(days=day)}: {most:,}")
    total = pc.sum(table.column("amount")).as_py() or 0
    console.print(
        f"{total:,} {selection.subject} in all; {len(rows):,} of {table.num_rows:,} rows shown", soft_wrap=True
    )


def choose_columns(names: Sequence[str], widths: Mapping[str, int], width: int) -> list[str]:
    """The columns for which there is room, each with a width (its own, or `COLUMN_WIDTHS`) at which it can be read."""
    chosen = list(names)
    wanted = {name: max(widths.get(name, COLUMN_WIDTHS[name]), len(name) if name in widths else 0) for name in names}
    for name in SPARED:
        # each has a blank on both sides and a line before it, and a line ends the row
        if name in chosen and sum(wanted[each] + 3 for each in chosen) + 1 > width:
            chosen.remove(name)
    return chosen


def stack_row(selection: "Selection", row: Mapping[str, Any]) -> "Text":
    """A row in a few lines, for a terminal that has no room for columns."""
    from rich.text import Text

    from flows.tables import show_value

    lines = [
        Text(f"{show_value(row[selection.group_by])} > {show_value(row['recipient_domain'])}"),
        Text(f"{row['bar']} {row['by day']}", style="cyan", overflow="crop"),
        Text(", ".join(show_value(row[name]) for name in ("cause", "reason") if row.get(name))),
        Text(show_value(row["bounce_text"])),
    ]
    return Text("\n").join(lines)


def add_up_days(table: "pa.Table") -> dict[int, int]:
    """The amounts of all rows by the number of the day."""
    import pyarrow as pa

    maps: Any = table.column("amounts_by_day").combine_chunks()
    days = pa.table({"day": maps.keys, "amount": maps.items}).group_by("day").aggregate([("amount", "sum")])
    return {row["day"]: row["amount_sum"] for row in days.to_pylist()}
