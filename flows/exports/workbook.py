"""XLSX workbooks: sheets of tables, charts over their own data, and a sheet that says what they show.

Text is only ever text, never a formula or a link, and whatever the format cannot hold is cut or continued visibly.
The file is the same, byte for byte, whenever the data is: it knows no clock.
"""

import gc
import math
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import xlsxwriter

from flows.problems import ActionableError
from flows.tables import show_plainly

DATA_ROWS = 1_048_575
"""Rows of a sheet below its header."""
TEXT_UNITS = 32_767
"""UTF-16 code units that a cell or a note holds; XlsxWriter counts like Excel."""
NAME_UNITS = 31
"""Of a sheet's name, likewise. It holds no `[]:*?/\\`, has no apostrophe at its ends, and differs not only in case."""
NOTES = 10_000
"""Rows of a sheet that carry a note; each is a drawing, and more make Excel slow. The text has its own column too."""
ROWS_IN_MEMORY = 250_000
"""Above so many rows texts are not shared between cells, which takes a constant memory and makes larger files."""
SHORT = TEXT_UNITS // 2
"""Characters that are never too long, whatever they are."""
EXACT_NUMBERS = 2**53
"""Beyond it a number of the format, a double, is not exact: written as text."""

BATCH_ROWS = 8_192
WIDTH_ROWS = 1_000
WIDEST = 60
ROW_HEIGHT = 15
CUT_MARK = " … [cut]"

_LINE_ENDS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_FORBIDDEN_IN_NAMES = re.compile(r"[\[\]:*?/\\]")
_BAR = "#8FB3DD"
_COLORS = ("#2F6DB5", "#E08A2C", "#4C9F70", "#B5473C", "#8067B7", "#C9A227", "#5FA8C4", "#9AA0A6")


@dataclass(frozen=True)
class Sheet:
    """A table as a sheet. `note` names two columns: a cell of the first, on one line, has the second as its note.

    Columns in `bars` show their amounts as bars too.
    """

    title: str
    table: pa.Table
    note: tuple[str, str] | None = None
    bars: Collection[str] = ()


@dataclass(frozen=True)
class Chart:
    """A chart of a table: its first column has the categories, each other is a series; columns where `is_by_day`."""

    title: str
    table: pa.Table
    is_by_day: bool = False


@dataclass(frozen=True)
class Workbook:
    """Sheets in their order, charts on a sheet of their own, and names and values for the sheet `Info`."""

    title: str
    sheets: Sequence[Sheet]
    info: Mapping[str, object]
    charts: Sequence[Chart] = ()
    created_at: datetime = field(default=datetime(2000, 1, 1))


def write_workbook(workbook: Workbook, path: Path, *, rows_per_sheet: int = DATA_ROWS) -> None:
    """Write the workbook; a sheet whose rows exceed `rows_per_sheet` is continued by `<title> 2` and so on."""
    rows = sum(sheet.table.num_rows for sheet in workbook.sheets)
    # large ones are put together from files of the replies, which are not to be left in /tmp by a killed run
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".workbook.", suffix=".tmp") as scratch:
        options = {"constant_memory": True} if rows > ROWS_IN_MEMORY else {"in_memory": True}
        written = xlsxwriter.Workbook(str(path), {**options, "tmpdir": scratch})
        with _without_collector():
            _write(written, workbook, rows_per_sheet)
            written.close()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Every cell is an object that stays until the end: to look for those that do not costs a sixth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write(written: Any, workbook: Workbook, rows_per_sheet: int) -> None:
    written.set_properties({"title": workbook.title, "created": workbook.created_at})
    styles = _Styles(written)
    used: set[str] = set()
    for sheet in workbook.sheets:
        for start in range(0, max(sheet.table.num_rows, 1), rows_per_sheet):
            name = name_sheet(sheet.title, used)
            _write_table(written.add_worksheet(name), sheet, sheet.table.slice(start, rows_per_sheet), styles)
    if charts := [chart for chart in workbook.charts if chart.table.num_rows]:
        shown, data = (written.add_worksheet(name_sheet(title, used)) for title in ("Charts", "Chart data"))
        _write_charts(written, shown, data, charts, styles)
    info = written.add_worksheet(name_sheet("Info", used))
    for row, (name, value) in enumerate(workbook.info.items()):
        _check(info.write_string(row, 0, cut_text(name), styles.header))
        styles.write(info, row, 1, value)
    info.set_column(0, 0, max(map(len, workbook.info), default=0) + 3)
    info.set_column(1, 1, WIDEST, styles.left)


class _Styles:
    """The formats of a workbook, and cells by the kind of their value."""

    def __init__(self, written: Any) -> None:
        self.header = written.add_format({"bold": True, "bottom": 1})
        self.left = written.add_format({"align": "left"})
        self.date = written.add_format({"num_format": "yyyy-mm-dd", "align": "left"})
        self.time = written.add_format({"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"})
        self.number = written.add_format({"num_format": "#,##0"})
        self.fraction = written.add_format({"num_format": "0.00##"})

    def write(self, sheet: Any, row: int, column: int, value: object) -> None:
        """Write a value of any kind: numbers and times as such, all else as text, nothing for null."""
        if isinstance(value, str):
            _check(sheet.write_string(row, column, cut_text(value)))
        elif value is None:
            return
        elif isinstance(value, bool):
            _check(sheet.write_boolean(row, column, value))
        elif isinstance(value, int) and abs(value) <= EXACT_NUMBERS:
            _check(sheet.write_number(row, column, value, self.number))
        elif isinstance(value, float) and math.isfinite(value):
            _check(sheet.write_number(row, column, value, self.fraction))
        elif isinstance(value, datetime) and value.year >= 1900:
            _check(sheet.write_datetime(row, column, value, self.time))
        elif isinstance(value, date) and value.year >= 1900:
            _check(sheet.write_datetime(row, column, value, self.date))
        else:
            _check(sheet.write_string(row, column, cut_text(str(value))))


def _write_table(written: Any, sheet: Sheet, part: pa.Table, styles: _Styles) -> None:
    """Write the rows from first to last, as constant memory wants it."""
    names = part.column_names
    for index, name in enumerate(names):
        _check(written.write_string(0, index, cut_text(name), styles.header))
        written.set_column(index, index, _fit_width(name, part.column(index).slice(0, WIDTH_ROWS).to_pylist()))
    noted, noting = (names.index(name) for name in sheet.note) if sheet.note else (None, None)
    texts = [pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in part.schema.types]
    write_string = written.write_string
    for row, values in enumerate(_rows(part), start=1):
        for index, value in enumerate(values):
            if value is None:
                continue
            if not texts[index]:
                styles.write(written, row, index, value)
                continue
            if index == noted:
                value = _LINE_ENDS.sub(" ", value)
                if noting is not None and row <= NOTES and values[noting]:
                    _write_note(written, row, index, values[noting])
            # nearly all cells are texts, and short ones
            _check(write_string(row, index, value if len(value) <= SHORT else cut_text(value)))
    written.freeze_panes(1, 0)
    written.autofilter(0, 0, part.num_rows, len(names) - 1)
    written.set_default_row(ROW_HEIGHT)
    # ids of digits alone are meant to be text
    written.ignore_errors({"number_stored_as_text": f"A1:XFD{part.num_rows + 1}"})
    for name in sheet.bars if part.num_rows else ():
        index = names.index(name)
        bar = {"type": "data_bar", "data_bar_2010": True, "bar_solid": True, "bar_color": _BAR, "min_type": "num"}
        _check(written.conditional_format(1, index, part.num_rows, index, {**bar, "min_value": 0}))


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _write_note(written: Any, row: int, column: int, text: str) -> None:
    lines = min(2 + len(text) // 60 + text.count("\n"), 25)
    size = {"width": 420, "height": 18 * lines}
    _check(written.write_comment(row, column, cut_text(show_plainly(text, keep_lines=True)), size))


def _write_charts(written: Any, shown: Any, data: Any, charts: Sequence[Chart], styles: _Styles) -> None:
    """Put each chart's table beside the one before on the sheet of data, and the charts below each other."""
    tables = [chart.table for chart in charts]
    firsts = [sum(table.num_columns + 1 for table in tables[:number]) for number in range(len(tables))]
    for row in range(max(table.num_rows for table in tables) + 1):
        for table, first in zip(tables, firsts, strict=True):
            for index, name in enumerate(table.column_names):
                if row == 0:
                    _check(data.write_string(0, first + index, cut_text(name), styles.header))
                elif row <= table.num_rows:
                    styles.write(data, row, first + index, table.column(index)[row - 1].as_py())
    for table, first in zip(tables, firsts, strict=True):
        for index, name in enumerate(table.column_names):
            data.set_column(first + index, first + index, _fit_width(name, table.column(index).to_pylist()))
    data.freeze_panes(1, 0)
    top = 1
    for chart, first in zip(charts, firsts, strict=True):
        made = _make_chart(written, data.get_name(), chart, first)
        height = 400 if chart.is_by_day else 120 + 24 * chart.table.num_rows
        made.set_size({"width": 1000, "height": height})
        shown.insert_chart(top, 1, made)
        top += height // 20 + 2
    shown.hide_gridlines(2)


def _make_chart(written: Any, sheet: str, chart: Chart, first: int) -> Any:
    rows = chart.table.num_rows
    made = written.add_chart({"type": "column", "subtype": "stacked"} if chart.is_by_day else {"type": "bar"})
    for index in range(1, chart.table.num_columns):
        made.add_series(
            {
                "name": [sheet, 0, first + index],
                "categories": [sheet, 1, first, rows, first],
                "values": [sheet, 1, first + index, rows, first + index],
                "fill": {"color": _COLORS[(index - 1) % len(_COLORS)]},
                "gap": 40,
                **({} if chart.is_by_day else {"data_labels": {"value": True}}),
            }
        )
    made.set_title({"name": chart.title, "name_font": {"size": 13}, "overlay": False})
    if chart.is_by_day:
        made.set_x_axis({"date_axis": True, "num_format": "yyyy-mm-dd", "major_gridlines": {"visible": False}})
        made.set_y_axis({"num_format": "#,##0", "min": 0})
        made.set_legend({"position": "bottom"})
    else:
        made.set_y_axis({"reverse": True})  # largest on top
        made.set_x_axis({"num_format": "#,##0", "min": 0, "major_gridlines": {"visible": False}})
        made.set_legend({"none": True})
    return made


def name_sheet(title: str, used: set[str]) -> str:
    """A name that Excel takes, and no sheet has yet; `used` holds those in lower case and gets the new one."""
    clean = _FORBIDDEN_IN_NAMES.sub(" ", show_plainly(title)).strip(" '") or "Sheet"
    if clean.lower() == "history":  # Excel keeps it to itself
        clean = "The history"
    for number in count(1):
        end = "" if number == 1 else f" {number}"
        units = clean.encode("utf-16-le")[: 2 * (NAME_UNITS - len(end))]
        name = units.decode("utf-16-le", errors="ignore").rstrip(" '") + end
        if name.lower() not in used:
            break
    used.add(name.lower())
    return name


def _check(returned: int) -> None:
    # XlsxWriter drops what does not fit and only says so in what it returns
    if returned != 0:
        raise ActionableError(
            f"XlsxWriter refused a cell (code {returned})", "export as Parquet or CSV, and report this as a defect"
        )


def _fit_width(name: str, values: Sequence[Any]) -> int:
    longest = max((len(_show(value)) for value in values if value is not None), default=0)
    return min(max(len(name) + 3, longest + 1), WIDEST)


def _show(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def cut_text(text: str) -> str:
    """Cut what is longer than a cell holds, and say so at its end."""
    if len(text) <= SHORT or len(text.encode("utf-16-le")) // 2 <= TEXT_UNITS:
        return text
    units = text.encode("utf-16-le")[: 2 * (TEXT_UNITS - len(CUT_MARK))]
    return units.decode("utf-16-le", errors="ignore") + CUT_MARK
