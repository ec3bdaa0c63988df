"""Workbooks, read back by openpyxl, from their XML, and as LibreOffice shows them."""

import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.exports import workbook
from flows.exports.contents import make_report_export, make_report_workbook, write_export
from flows.exports.workbook import CUT_MARK, NAME_UNITS, TEXT_UNITS, Chart, Sheet, Workbook, cut_text, name_sheet
from flows.report import Selection
from tests.exports.hostile import HOSTILE, read_csv
from tests.published_database import Bounce, NonDelivery, make_published

pytestmark = pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning:openpyxl")

MARCH = Selection(date(2026, 3, 1), date(2026, 3, 31))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.xlsx"


def write(path: Path, table: pa.Table, rows_per_sheet=workbook.DATA_ROWS, **options) -> openpyxl.Workbook:
    workbook.write_workbook(
        Workbook("Bounces", [Sheet("Bounces", table, **options)], {"rows": table.num_rows}), path,
        rows_per_sheet=rows_per_sheet,
    )  # fmt: skip
    return openpyxl.load_workbook(path)


def write_report(database: Path, path: Path, selection: Selection = MARCH) -> openpyxl.Workbook:
    exports = [
        make_report_export(database, replace(selection, group_by=group)) for group in ("from_domain", "sending_ip")
    ]
    write_export(make_report_workbook(database, selection, exports), path, "xlsx")
    return openpyxl.load_workbook(path)


def read_parts(path: Path) -> dict[str, ElementTree.Element]:
    archive = zipfile.ZipFile(path)
    return {name: ElementTree.fromstring(archive.read(name)) for name in archive.namelist()}


@pytest.mark.parametrize("rows_in_memory", [10**6, 0], ids=["in memory", "in constant memory"])
def test_hostile_text_is_text_and_reads_back_exactly(path, monkeypatch, rows_in_memory):
    monkeypatch.setattr(workbook, "ROWS_IN_MEMORY", rows_in_memory)
    cells = write(path, pa.table({"text": HOSTILE, "amount": range(len(HOSTILE))}))["Bounces"]["A"][1:]
    assert all(cell.data_type in ("s", "inlineStr") and cell.hyperlink is None for cell in cells)
    parts = read_parts(path)  # all well-formed
    # read from the XML itself, because openpyxl does not undo the format's _xHHHH_ escapes
    texts = [
        each
        for part in ("xl/sharedStrings.xml", "xl/worksheets/sheet1.xml")
        if part in parts
        for each in parts[part].iter()
    ]
    stored = [text.text for text in texts if text.tag.endswith("}t")]
    read = [re.sub(r"_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text) for text in stored]
    assert set(HOSTILE) <= set(read)


def test_values_are_what_they_are(path):
    day, moment = date(2026, 3, 5), datetime(2026, 3, 5, 6, 7, 8)
    table = pa.table(
        {"id": ["0012", "4e10"], "n": [1234567, None], "huge": [2**60, 1], "day": [day, None], "at": [moment, None],
         "rate": [0.25, float("nan")], "is_new": [True, None]}
    )  # fmt: skip
    sheet = write(path, table)["Bounces"]
    assert [cell.value for cell in sheet[2]] == ["0012", 1234567, str(2**60), datetime(2026, 3, 5), moment, 0.25, True]
    assert [cell.data_type for cell in sheet[2]] == ["s", "n", "s", "d", "d", "n", "b"]
    assert [cell.number_format for cell in sheet[2]][3:5] == ["yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"]
    assert [cell.value for cell in sheet[3]] == ["4e10", None, 1, None, None, "nan", None]


def test_a_report_has_a_frozen_bold_header_filters_numbers_bars_and_notes(tmp_path, path):
    reply = "451 ann@mail.example: =1+1\nlater \x1b[31m"
    database = make_published(
        tmp_path / "b.duckdb",
        [Bounce(datetime(2026, 3, 5), bounce_text="451 Please\r\ntry again")] * 3,
        samples={"451 Please\r\ntry again": reply},
    )
    book = write_report(database, path)
    sheet = book["Bounces by From domain"]
    header = {cell.value: cell for cell in sheet[1]}
    assert all(cell.font.b for cell in header.values())
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:H2"
    amount, text = (sheet.cell(2, header[name].column) for name in ("amount", "bounce_text"))
    assert (amount.value, amount.data_type) == (3, "n")
    assert text.value == "451 Please try again"  # on one line
    assert text.comment.text == "451 ann@mail.example: =1+1\nlater \\x1b[31m"
    (rule,) = (rule for area in sheet.conditional_formatting for rule in area.rules)
    assert rule.type == "dataBar"
    assert [str(area.sqref) for area in sheet.conditional_formatting] == [f"{amount.column_letter}2"]
    widths = {name: sheet.column_dimensions[cell.column_letter].width for name, cell in header.items()}
    assert len("451 Please try again") <= widths["bounce_text"] <= workbook.WIDEST + 1
    assert len("news.example") <= widths["from_domain"] < widths["bounce_text"]


def test_a_report_has_both_groupings_charts_and_what_it_shows(tmp_path, path):
    facts = [Bounce(datetime(2026, 3, day), sending_ip=f"192.0.2.{day}") for day in (5, 6, 6)]
    database = make_published(tmp_path / "b.duckdb", [*facts, Bounce(datetime(2026, 3, 6), reason="mailbox_full")])
    book = write_report(database, path)
    assert book.sheetnames == ["Bounces by From domain", "Bounces by sending IP", "Charts", "Chart data", "Info"]
    assert [row[0] for row in book["Bounces by sending IP"].iter_rows(2, values_only=True)] == [
        "192.0.2.6",
        "192.0.2.1",
        "192.0.2.5",
    ]
    data = book["Chart data"]
    assert [row[:3] for row in data.iter_rows(1, 3, values_only=True)] == [
        ("day", "service_unavailable", "mailbox_full"), (datetime(2026, 3, 5), 1, 0), (datetime(2026, 3, 6), 2, 1),
    ]  # fmt: skip
    charts = book["Charts"]._charts  # type: ignore[attr-defined]
    assert [type(chart).__name__ for chart in charts] == ["BarChart"] * 4
    assert [len(chart.series) for chart in charts] == [2, 1, 1, 1]
    assert charts[0].series[0].val.numRef.f == "'Chart data'!$B$2:$B$3"
    info = {row[0].value: row[1].value for row in book["Info"]}
    assert (info["First day"].date(), info["Last day"].date()) == (MARCH.first_day, MARCH.last_day)
    assert (info["Amount"], info["Campaign"], info["Class"], info["Time zone"]) == (4, "all", "soft", "UTC")
    assert (info["Rows by from domain"], info["Rows by sending ip"]) == (2, 3)
    assert info["Rule set version"] == "abc123"
    assert info["Data through at (UTC)"] == datetime(2026, 3, 31, 23, 59)
    assert info["Made at (UTC)"] == datetime(2026, 4, 1, 6)


@pytest.mark.parametrize("selection", [MARCH, replace(MARCH, is_undeliveries=True, bounce_class="all")])
def test_an_empty_report_is_a_workbook_too(tmp_path, path, selection):
    book = write_report(make_published(tmp_path / "b.duckdb"), path, selection)
    assert [sheet.max_row for sheet in book.worksheets[:2]] == [1, 1]
    assert "Charts" not in book.sheetnames


def test_undeliveries_without_a_reply_are_charted_too(tmp_path, path):
    facts = [NonDelivery(datetime(2026, 3, 5), bounce_text=None, reason=None), NonDelivery(datetime(2026, 3, 5))]
    book = write_report(
        make_published(tmp_path / "b.duckdb", [], facts), path, replace(MARCH, is_undeliveries=True, bounce_class="all")
    )
    assert [cell.value for cell in book["Chart data"][1]][:3] == ["day", "(no reply)", "user_unknown"]


def test_reasons_beyond_the_colours_are_added_up(tmp_path, path):
    facts = [
        Bounce(datetime(2026, 3, 5), reason=f"reason_{number:02}", bounce_text=str(number)) for number in range(12)
    ]
    book = write_report(make_published(tmp_path / "b.duckdb", facts), path)
    header, day = ([cell.value for cell in row] for row in book["Chart data"].iter_rows(1, 2))
    assert header[:9] == ["day", *(f"reason_{number:02}" for number in range(7)), "(others)"]
    assert day[1:9] == [*[1] * 7, 5]


def test_what_a_cell_cannot_hold_is_cut_and_says_so(path):
    texts = ["a" * 40_000, "\U0001f600" * 20_000, "b" * TEXT_UNITS]
    sheet = write(path, pa.table({"text": texts, "whole": texts}), note=("text", "whole"))["Bounces"]
    for row, text in enumerate(texts, start=2):
        cell = sheet.cell(row, 1)
        assert cell.value == cut_text(text)
        assert cell.comment.text == cut_text(text)
        assert len(cell.value.encode("utf-16-le")) // 2 <= TEXT_UNITS
        assert cell.value == text or cell.value.endswith(CUT_MARK)
    assert sheet.cell(4, 1).value == texts[2]


@pytest.mark.parametrize("rows_in_memory", [10**6, 0], ids=["in memory", "in constant memory"])
def test_rows_beyond_a_sheet_go_to_further_sheets(path, monkeypatch, rows_in_memory):
    monkeypatch.setattr(workbook, "ROWS_IN_MEMORY", rows_in_memory)
    book = write(path, pa.table({"n": range(25)}), rows_per_sheet=10)
    assert book.sheetnames == ["Bounces", "Bounces 2", "Bounces 3", "Info"]
    values = [row[0] for name in book.sheetnames[:3] for row in book[name].iter_rows(2, values_only=True)]
    assert values == list(range(25))
    assert [book[name].auto_filter.ref for name in book.sheetnames[:3]] == ["A1:A11", "A1:A11", "A1:A6"]
    assert list(path.parent.iterdir()) == [path]


def test_the_row_below_a_full_sheet_is_on_the_next():
    assert workbook.DATA_ROWS + 1 == 1_048_576


@pytest.mark.parametrize(
    ("title", "name"),
    [("a/b\\c?*[x]:", "a b c   x"), ("'quoted'", "quoted"), ("", "Sheet"), ("History", "The history"),
     ("x" * 40, "x" * 31), ("\U0001f600" * 20, "\U0001f600" * 15), ("a\x1b\u202e", "a x1b u202e")],
)  # fmt: skip
def test_sheet_names_are_such_as_excel_takes(title, name):
    assert name_sheet(title, set()) == name


@hypothesis_settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("aA'[]:*?/\\ \U0001f600"), max_size=40), min_size=1, max_size=12))
def test_no_two_sheets_have_one_name(titles):
    used = set()
    names = [name_sheet(title, used) for title in titles]
    assert len({name.lower() for name in names}) == len(names)
    assert all(1 <= len(name.encode("utf-16-le")) // 2 <= NAME_UNITS for name in names)
    assert not [name for name in names if re.search(r"[\[\]:*?/\\]|^'|'$", name)]


def test_sheets_of_one_title_are_told_apart(path):
    table = pa.table({"n": [1]})
    workbook.write_workbook(Workbook("B", [Sheet("info", table), Sheet("INFO", table)], {"rows": 1}), path)
    assert openpyxl.load_workbook(path).sheetnames == ["info", "INFO 2", "Info 3"]


@pytest.mark.parametrize("rows_in_memory", [10**6, 0], ids=["in memory", "in constant memory"])
def test_the_same_data_gives_the_same_bytes(tmp_path, monkeypatch, rows_in_memory):
    monkeypatch.setattr(workbook, "ROWS_IN_MEMORY", rows_in_memory)
    database = make_published(tmp_path / "b.duckdb", [Bounce(datetime(2026, 3, 5))] * 3)
    first, second = tmp_path / "1.xlsx", tmp_path / "2.xlsx"
    write_report(database, first)
    write_report(database, second)
    assert first.read_bytes() == second.read_bytes()


SOFFICE = shutil.which("soffice")
needs_libreoffice = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice (soffice) is not installed")


def convert(path: Path, form: str, folder: Path) -> Path:
    """Have LibreOffice open a workbook and save it in another form, as a user of its own."""
    ran = subprocess.run(
        [SOFFICE, f"-env:UserInstallation={(folder / 'user').as_uri()}", "--headless", "--norestore", "--convert-to", form,
         "--outdir", folder, path], capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return folder


@needs_libreoffice
@pytest.mark.filterwarnings("ignore:Unable to read chart:UserWarning:openpyxl")  # LibreOffice's, by openpyxl
def test_libreoffice_shows_the_cells_that_were_written(tmp_path, path):
    texts = [text for text in HOSTILE if text.isprintable()]
    table = pa.table(
        {
            "text": texts,
            "whole": [f"whole {text}" for text in texts],
            "day": [date(2026, 3, 5)] * len(texts),
            "amount": range(1000, 1000 + len(texts)),
        }
    )
    charted = Chart("By day", table.select(["day", "amount"]), is_by_day=True)
    sheets = [Sheet(title, table, ("text", "whole"), ["amount"]) for title in ("By From domain", "By IP")]
    workbook.write_workbook(Workbook("Bounces", sheets, {"rows": table.num_rows}, [charted]), path)
    # every sheet as CSV: separator, quote, UTF-8, and cells as they are shown
    folder = convert(
        path, "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1", tmp_path / "shown"
    )
    shown = {each.stem.removeprefix("book-"): read_csv(each.read_bytes()) for each in folder.glob("*.csv")}
    assert set(shown) == {"By From domain", "By IP", "Charts", "Chart data", "Info"}
    for name in ("By From domain", "By IP"):
        assert shown[name][0] == table.column_names
        rows = [[*row[:3], row[3].replace(",", "")] for row in shown[name][1:]]  # thousands apart, by locale
        assert rows == [[text, f"whole {text}", "2026-03-05", str(1000 + row)] for row, text in enumerate(texts)]
    assert shown["Info"] == [["rows", str(len(texts))]]
    # and what it saves itself still has the rest
    again = convert(path, "xlsx", tmp_path / "saved") / "book.xlsx"
    assert [name for name in zipfile.ZipFile(again).namelist() if "chart" in name] == ["xl/charts/chart1.xml"]
    saved = openpyxl.load_workbook(again)
    sheet = saved["By From domain"]
    assert sheet["A2"].comment.text == f"whole {texts[0]}"
    assert sheet.auto_filter.ref == f"A1:D{len(texts) + 1}"
    assert [rule.type for area in sheet.conditional_formatting for rule in area.rules] == ["dataBar"]
