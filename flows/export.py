"""Files for people and BI tools: CSV, XLSX and Parquet, each written whole under a temporary name and then renamed.

A written file is readable by its owner only, because replies and lists hold addresses; those of a run also by its
group, where `Settings.readable_by` says so.
"""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Required, TypedDict, get_args

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter

from flows import __version__
from flows.failpoints import failpoint
from flows.problems import ActionableError, CannotWriteError
from flows.report import BounceClass, Grouping, Selection, choose_period, open_published, report
from flows.settings import Settings
from flows.tables import show_plainly

MANIFEST_NAME = "manifest.json"

DAILY_REPORTS: tuple[tuple[bool, BounceClass], ...] = ((False, "soft"), (True, "all"))
"""Whether undeliveries, and of which class: soft bounces, as in the report; every undelivery, as most are hard."""

CSV_BATCH_ROWS = 65_536

XLSX_DATA_ROWS = 1_048_575
"""Rows of an XLSX sheet below its header."""
XLSX_TEXT_UNITS = 32_767
"""UTF-16 code units that a cell or a note holds; XlsxWriter counts like Excel."""
XLSX_NOTES = 20_000
"""Rows of a sheet that carry a note; each is a drawing, and more make Excel slow. The text has its own column too."""
XLSX_WIDTH_ROWS = 1_000
XLSX_WIDEST = 60
CUT_MARK = " … [cut]"

_SPACES = r"[\s\p{Z}\p{C}]*"
_SIGNS = r"[=+@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}-]"
"""What starts a formula: `=`, `+`, `-`, `@` and, where Excel runs in Japanese or Chinese, their full-width forms."""
_ACTS_AT_START = f"^({_SPACES}{_SIGNS}|[ \n\\p{{Z}}\\p{{Cf}}]*[\t\r])"
_ACTS_INSIDE = f"([;\t\r\n]{_SPACES})({_SIGNS})"
"""Where Excel's list separator is `;` it does not see our quotes: a `;` or line end inside a cell begins a new cell."""


class CsvProfile(TypedDict, total=False):
    """How text stands in a CSV file: as `write_csv` has it."""

    excel_safe: Required[bool]
    exact_columns: Collection[str]
    mark: bool


def csv_profile(is_excel_safe: bool | None) -> CsvProfile:
    """The profile of a list: all text safe, all exact (False), or by default addresses exact and the rest safe.

    A changed address would be mailed, and importers look for a column called exactly `address`: no byte order mark.
    """
    if is_excel_safe is None:
        return {"excel_safe": True, "exact_columns": ("address",), "mark": False}
    return {"excel_safe": is_excel_safe, "mark": is_excel_safe}


def write_csv(
    table: pa.Table, target: IO[bytes], *, excel_safe: bool, exact_columns: Collection[str] = (), mark: bool = True
) -> None:
    """Write RFC 4180 CSV: UTF-8, CRLF after each record, header first, quotes only where needed, nothing for null.

    `excel_safe` puts an apostrophe before text that a spreadsheet would take for a formula, except in `exact_columns`,
    and (`mark`) begins with a byte order mark, without which Excel reads UTF-8 as the local code page. Without
    `excel_safe` the text is exact, for machines.
    """
    text = io.TextIOWrapper(target, encoding="utf-8-sig" if excel_safe and mark else "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=CSV_BATCH_ROWS):
        columns = [
            (_disarm(column) if excel_safe and name not in exact_columns else column).to_pylist()
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        writer.writerows(zip(*columns, strict=True))
    text.flush()
    text.detach()


def _disarm(column: Any) -> Any:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    inside = pc.replace_substring_regex(column, pattern=_ACTS_INSIDE, replacement=r"\1'\2")
    return pc.replace_substring_regex(inside, pattern=_ACTS_AT_START, replacement=r"'\1")


def write_xlsx(
    table: pa.Table,
    target: IO[bytes],
    *,
    title: str,
    info: Mapping[str, object],
    note: tuple[str, str] | None = None,
    rows_per_sheet: int = XLSX_DATA_ROWS,
) -> None:
    """Write a workbook: sheet `title` (then `title 2` … where rows exceed a sheet), and `Info` with names and values.

    Text is only ever text, never a formula or a link. `note` names two columns: a cell of the first carries the value
    of the second as its note. The file is the same, byte for byte, whenever the data is.
    """
    workbook = xlsxwriter.Workbook(target, {"in_memory": True})
    workbook.set_properties({"title": title, "created": datetime(2000, 1, 1)})  # any fixed time
    header_format = workbook.add_format({"bold": True})
    formats = {
        "date": workbook.add_format({"num_format": "yyyy-mm-dd"}),
        "time": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        "number": workbook.add_format({"num_format": "#,##0"}),
    }
    starts = range(0, max(table.num_rows, 1), rows_per_sheet)
    for number, start in enumerate(starts, start=1):
        sheet = workbook.add_worksheet(title if number == 1 else f"{title} {number}")
        part = table.slice(start, rows_per_sheet)
        for index, name in enumerate(table.column_names):
            _check(sheet.write_string(0, index, name, header_format))
            values = part.column(index).to_pylist()
            for row, value in enumerate(values, start=1):
                _write_cell(sheet, row, index, value, formats)
            sheet.set_column(index, index, _fit_width(name, values))
        if note:
            _write_notes(sheet, part, *note)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, part.num_rows, table.num_columns - 1)
    sheet = workbook.add_worksheet("Info")
    for row, (name, value) in enumerate(info.items()):
        _check(sheet.write_string(row, 0, name, header_format))
        _write_cell(sheet, row, 1, value, formats)
    sheet.set_column(0, 0, max(len(name) for name in info) + 2)
    sheet.set_column(1, 1, XLSX_WIDEST)
    workbook.close()


def _write_cell(sheet: Any, row: int, column: int, value: object, formats: Mapping[str, object]) -> None:
    if value is None:
        return
    if isinstance(value, datetime):
        _check(sheet.write_datetime(row, column, value, formats["time"]))
    elif isinstance(value, date):
        _check(sheet.write_datetime(row, column, value, formats["date"]))
    elif isinstance(value, int) and not isinstance(value, bool):
        _check(sheet.write_number(row, column, value, formats["number"]))
    else:
        _check(sheet.write_string(row, column, cut_text(str(value))))


def _write_notes(sheet: Any, part: pa.Table, noted: str, noting: str) -> None:
    column = part.column_names.index(noted)
    for row, text in enumerate(part.column(noting).slice(0, XLSX_NOTES).to_pylist(), start=1):
        if text:
            lines = min(2 + len(text) // 60 + text.count("\n"), 25)
            size = {"width": 420, "height": 18 * lines}
            _check(sheet.write_comment(row, column, cut_text(show_plainly(text, keep_lines=True)), size))


def _check(returned: int) -> None:
    # XlsxWriter drops what does not fit and only says so in what it returns
    if returned != 0:
        raise ActionableError(
            f"XlsxWriter refused a cell (code {returned})", "export as Parquet or CSV, and report this as a defect"
        )


def _fit_width(name: str, values: list[Any]) -> int:
    longest = max((len(str(value)) for value in values[:XLSX_WIDTH_ROWS] if value is not None), default=0)
    return min(max(len(name) + 3, longest + 1), XLSX_WIDEST)


def cut_text(text: str) -> str:
    """Cut what is longer than a cell holds, and say so at its end."""
    if len(text) <= XLSX_TEXT_UNITS // 2 or len(text.encode("utf-16-le")) // 2 <= XLSX_TEXT_UNITS:
        return text
    units = text.encode("utf-16-le")[: 2 * (XLSX_TEXT_UNITS - len(CUT_MARK))]
    return units.decode("utf-16-le", errors="ignore") + CUT_MARK


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet (zstd) by DuckDB's writer."""
    with duckdb.connect() as connection:
        connection.from_arrow(table).write_parquet(str(path), compression="zstd")


@contextmanager
def replace_file(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there takes the place of `path` at once, or nothing does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise CannotWriteError(
            f"cannot write to the folder {path.parent}: {error.strerror}", "choose another place, or free this one"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)  # DuckDB's writer makes its file anew
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        failpoint("export.written")
        temporary.replace(path)
        failpoint("export.renamed")
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror}", "free the place, then try again") from error
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Export:
    """A table with what its files need to know: sheet title, facts for `Info` and manifest, the profile of its CSV."""

    name: str
    title: str
    table: pa.Table
    info: Mapping[str, object]
    note: tuple[str, str] | None = None
    csv: CsvProfile = field(default_factory=lambda: CsvProfile(excel_safe=True))


def write_export(export: Export, path: Path, format_name: str, mode: int = 0o600) -> None:
    """Write one file of the export in the format `csv`, `xlsx` or `parquet`."""
    with replace_file(path, mode) as temporary:
        if format_name == "parquet":
            write_parquet(export.table, temporary)
            return
        with temporary.open("wb") as target:
            if format_name == "csv":
                write_csv(export.table, target, **export.csv)
            else:
                write_xlsx(export.table, target, title=export.title, info=export.info, note=export.note)


def make_report_export(database: Path, selection: Selection, *, name: str, excel_safe: bool = True) -> Export:
    """Run the report and describe it: settings, total, and the state of the published data it came from."""
    table = report(database, selection)
    total = pc.sum(table.column("amount")).as_py() or 0
    info: dict[str, object] = {
        "report": selection.subject,
        "first_day": selection.first_day,
        "last_day": selection.last_day,
        "time_zone": selection.time_zone,
        "campaign": "all" if selection.campaign is None else selection.campaign,
        "group_by": selection.group_by,
        "class": selection.bounce_class,
        "amount": total,
        "rows": table.num_rows,
        **describe_publication(database),
    }
    return Export(
        name=name,
        title=selection.subject.capitalize(),
        table=table,
        info=info,
        note=("bounce_text", "sample_message"),
        csv={"excel_safe": excel_safe},
    )


def make_suppression_export(database: Path) -> Export:
    """Take the suppression list as it is published, by address. Addresses stay exact: a changed one would be mailed."""
    with open_published(database) as connection:
        table = connection.execute(
            """
            select
                suppressed.address,
                suppressed.recipient_domain,
                suppressed.suppressed_at,
                suppressed.reason,
                texts.bounce_text,
                suppressed.source_name,
                suppressed.campaign_id,
                suppressed.acted_by,
                suppressed.why,
                suppressed.rule_set_version,
                suppressed.suppression_policy,
            from marts.dim_suppressed_addresses as suppressed
            left join marts.dim_bounce_texts as texts on texts.text_id = suppressed.text_id
            order by suppressed.address, suppressed.suppressed_at
            """
        ).to_arrow_table()
    return Export(
        name="suppression_list",
        title="Suppression list",
        table=table,
        info={"list": "suppression list", "rows": table.num_rows, **describe_publication(database)},
        csv=csv_profile(None),
    )


def describe_publication(database: Path) -> dict[str, object]:
    """Tell what the published data stands on: the newest time it knows, rules, policy. Not when it was made."""
    with open_published(database) as connection:
        data_through = connection.execute("select max(data_through_at)::timestamp from marts.ops_sources").fetchone()
        versions = connection.execute(
            "select rule_set_version, suppression_policy from marts.ops_publication"
        ).fetchone()
    return {
        "data_through_at_utc": data_through[0] if data_through else None,
        "rule_set_version": str(versions[0]) if versions else None,
        "suppression_policy": versions[1] if versions else None,
        "bouncehouse_version": __version__,
    }


def export_all(settings: Settings) -> list[Path]:
    """Write the daily exports from the published database and, last, `manifest.json` that describes them.

    The reports cover `report_days` days up to the newest data.
    """
    for leftover in settings.exports.glob(".*.tmp"):  # of a killed run: there is one at a time
        leftover.unlink(missing_ok=True)
    with hold_readable(settings) as database:
        return _export_all(settings, database)


@contextmanager
def hold_readable(settings: Settings) -> Iterator[Path]:
    """Give the published database, or a copy of it while a client has it open for writing and locks out all others.

    As long as the block runs no client can open it for writing.
    """
    database = settings.published_database
    try:
        held = duckdb.connect(database, read_only=True)
    except duckdb.Error as error:
        if "Could not set lock" not in str(error):
            raise
        copy = settings.state / f"{database.stem}.copy{database.suffix}"
        shutil.copyfile(database, copy)
        try:
            yield copy
        finally:
            copy.unlink()
        return
    with held:
        yield database


def _export_all(settings: Settings, database: Path) -> list[Path]:
    mode = 0o666 & ~settings.umask
    first_day, last_day = choose_period(database, first_day=None, last_day=None, days=settings.report_days)
    reports = [
        make_report_export(
            database,
            Selection(first_day, last_day, None, group_by, bounce_class, is_undeliveries),
            name=f"{'undeliveries' if is_undeliveries else 'bounces'}_by_{group_by}",
        )
        for is_undeliveries, bounce_class in DAILY_REPORTS
        for group_by in get_args(Grouping)
    ]
    paths: list[Path] = []
    described: dict[str, object] = {}
    for export in [*reports, make_suppression_export(database)]:
        for format_name in ("csv", "xlsx", "parquet"):
            path = settings.exports / f"{export.name}.{format_name}"
            write_export(export, path, format_name, mode)
            paths.append(path)
            described[path.name] = {
                **export.info,
                "columns": {column.name: str(column.type) for column in export.table.schema},
            }
    manifest = settings.exports / MANIFEST_NAME
    with replace_file(manifest, mode) as temporary:
        temporary.write_text(json.dumps({"files": described}, indent=2, default=str) + "\n", encoding="utf-8")
    return [*paths, manifest]
