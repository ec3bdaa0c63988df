import csv
import io
import json
import re
import stat
import zipfile
from datetime import date, datetime
from xml.etree import ElementTree

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from published_database import Bounce, NonDelivery, Suppressed, make_published

from flows.export import (
    CUT_MARK,
    XLSX_TEXT_UNITS,
    Export,
    cut_text,
    export_all,
    make_report_export,
    replace_file,
    write_csv,
    write_export,
    write_xlsx,
)
from flows.problems import ActionableError
from flows.report import Selection
from flows.settings import Settings

MARCH = Selection(date(2026, 3, 1), date(2026, 3, 31))

HOSTILE = [
    "=HYPERLINK(\"http://evil.example\",\"550\")",
    "  +1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+9)",
    "\t=1+1",
    "\r=1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\uff1d1+1",
    "x;=1+1",
    "x\n=1+1",
    "{=1+1}",
    "550 <script>alert(1)</script>",
    "550 \x1b]0;owned\x07\x1b[31m",
    "550 \u202eevil",
    "550 \x00 nul",
    "_x0041_",
    "550 \ufffe\uffff",
    "  \r",
    "https://evil.example",
    "4e10",
    "0012",
]  # fmt: skip


def write_csv_bytes(table: pa.Table, **options) -> bytes:
    target = io.BytesIO()
    write_csv(table, target, **options)
    return target.getvalue()


def write_xlsx_bytes(table: pa.Table, **options) -> bytes:
    target = io.BytesIO()
    write_xlsx(table, target, **{"title": "Bounces", "info": {"rows": table.num_rows}} | options)
    return target.getvalue()


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.text(min_size=1)), st.integers(0, 2**53)), min_size=1))
def test_plain_csv_gives_back_exactly_what_went_in(rows):
    texts, optional, numbers = zip(*rows, strict=True)
    table = pa.table({"text": texts, "optional": pa.array(optional, pa.string()), "amount": numbers})
    header, *found = read_csv(write_csv_bytes(table, excel_safe=False))
    assert header == ["text", "optional", "amount"]
    assert found == [[text, other or "", str(number)] for text, other, number in rows]


def test_csv_is_rfc_4180():
    table = pa.table({"a": ["x,y", 'say "no"', "two\nlines", None], "n": [1, 2, 3, 4]})
    assert write_csv_bytes(table, excel_safe=False) == (b'a,n\r\n"x,y",1\r\n"say ""no""",2\r\n"two\nlines",3\r\n,4\r\n')


@pytest.mark.parametrize("text", HOSTILE[:10])
def test_safe_csv_disarms_formulas(text):
    (_, (cell,)) = read_csv(write_csv_bytes(pa.table({"text": [text]}), excel_safe=True))
    assert cell[0] == "'"
    assert cell.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(("text", "safe"), [("x;=1+1", "x;'=1+1"), ("x\n =1+1", "x\n '=1+1"), ("a-b=c", "a-b=c")])
def test_safe_csv_disarms_what_another_list_separator_would_cut_out(text, safe):
    assert read_csv(write_csv_bytes(pa.table({"text": [text]}), excel_safe=True))[1] == [safe]


@hypothesis_settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n ;,\"'a\u00a0\u200b")))
def test_no_cell_of_a_safe_csv_begins_a_formula_however_it_is_cut(text):
    content = write_csv_bytes(pa.table({"text": [text]}), excel_safe=True).decode("utf-8-sig")
    (_, (cell,)) = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert not cell.strip(" \n\u00a0\u200b").startswith(tuple("=+-@\t\r"))
    for piece in cell.replace("\r", "\n").replace("\t", "\n").replace(";", "\n").split("\n"):
        assert not piece.strip(" \u00a0\u200b").startswith(tuple("=+-@"))


def test_safe_csv_opens_as_utf8_in_excel_and_leaves_exact_columns_alone():
    table = pa.table({"address": ["=a@b.example"], "reply": ["=1"], "amount": [-1]})
    content = write_csv_bytes(table, excel_safe=True, exact_columns=["address"])
    assert content.startswith(b"\xef\xbb\xbf")
    assert read_csv(content)[1] == ["=a@b.example", "'=1", "-1"]
    assert not write_csv_bytes(table, excel_safe=True, mark=False).startswith(b"\xef")


def test_xlsx_holds_hostile_text_as_text_and_reads_back_exactly():
    content = write_xlsx_bytes(pa.table({"text": HOSTILE, "amount": range(len(HOSTILE))}))
    cells = openpyxl.load_workbook(io.BytesIO(content))["Bounces"]["A"][1:]
    assert all(cell.data_type == "s" and cell.hyperlink is None for cell in cells)
    archive = zipfile.ZipFile(io.BytesIO(content))
    parts = {name: ElementTree.fromstring(archive.read(name)) for name in archive.namelist()}  # all well-formed
    # read from the XML itself, because openpyxl does not undo the format's _xHHHH_ escapes
    stored = [text.text for text in parts["xl/sharedStrings.xml"].iter() if text.tag.endswith("}t")]
    read = [re.sub(r"_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text) for text in stored]
    assert set(HOSTILE) <= set(read)


def test_xlsx_has_a_frozen_bold_header_filters_numbers_and_notes(tmp_path):
    reply = "451 ann@mail.example: =1+1\nlater \x1b[31m"
    database = make_published(
        tmp_path / "b.duckdb", [Bounce(datetime(2026, 3, 5))] * 3, samples={"451 Please try again later": reply}
    )
    write_export(make_report_export(database, MARCH, name="bounces"), tmp_path / "b.xlsx", "xlsx")
    workbook = openpyxl.load_workbook(tmp_path / "b.xlsx")
    sheet = workbook["Bounces"]
    header = {cell.value: cell for cell in sheet[1]}
    assert all(cell.font.b for cell in header.values())
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:H2"
    assert sheet.cell(2, header["amount"].column).value == 3
    assert sheet.cell(2, header["amount"].column).data_type == "n"
    assert sheet.cell(2, header["bounce_text"].column).comment.text == "451 ann@mail.example: =1+1\nlater \\x1b[31m"
    info = {row[0].value: row[1].value for row in workbook["Info"]}
    assert (info["first_day"].date(), info["last_day"].date()) == (MARCH.first_day, MARCH.last_day)
    assert (info["amount"], info["campaign"], info["class"]) == (3, "all", "soft")


def test_xlsx_cuts_what_a_cell_cannot_hold_and_says_so():
    texts = ["a" * 40_000, "\U0001f600" * 20_000, "b" * XLSX_TEXT_UNITS]
    table = pa.table({"text": texts, "whole": texts})
    sheet = openpyxl.load_workbook(io.BytesIO(write_xlsx_bytes(table, note=("text", "whole"))))["Bounces"]
    for row, text in enumerate(texts, start=2):
        cell = sheet.cell(row, 1)
        assert cell.value == cut_text(text)
        assert cell.comment.text == cut_text(text)
        assert len(cell.value.encode("utf-16-le")) // 2 <= XLSX_TEXT_UNITS
        assert cell.value == text or cell.value.endswith(CUT_MARK)
    assert sheet.cell(4, 1).value == texts[2]


def test_xlsx_goes_on_with_a_further_sheet():
    content = write_xlsx_bytes(pa.table({"n": range(25)}), rows_per_sheet=10)
    workbook = openpyxl.load_workbook(io.BytesIO(content))
    assert workbook.sheetnames == ["Bounces", "Bounces 2", "Bounces 3", "Info"]
    values = [row[0] for name in workbook.sheetnames[:3] for row in workbook[name].iter_rows(2, values_only=True)]
    assert values == list(range(25))


@pytest.fixture
def home(tmp_path):
    settings = Settings(home=tmp_path / "home")
    make_published(
        settings.published_database,
        [Bounce(datetime(2026, 3, 5), from_domain=text) for text in ["a.example", None, "=1+1"] for _ in range(2)]
        + [Bounce(datetime(2026, 3, 5), bounce_class="hard")]
        + [Bounce(datetime(2026, 2, 1))],
        [NonDelivery(datetime(2026, 3, 5)), NonDelivery(datetime(2026, 3, 5), bounce_class="soft", cause="expired")],
        [Suppressed("=ann@mail.example", bounce_text="=550 gone"), Suppressed("bob@mail.example")],
    )
    return settings


def test_daily_exports_stand_at_stable_names_and_agree_in_all_formats(home):
    paths = export_all(home)
    names = ["bounces_by_from_domain", "bounces_by_sending_ip", "undeliveries_by_from_domain",
             "undeliveries_by_sending_ip", "suppression_list"]  # fmt: skip
    expected = [f"{name}.{ending}" for name in names for ending in ("csv", "xlsx", "parquet")]
    assert [path.name for path in paths] == [*expected, "manifest.json"]
    assert sorted(path.name for path in home.exports.iterdir()) == sorted(path.name for path in paths)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    amounts = {"bounces": 6, "undeliveries": 2}
    for name in names[:4]:
        rows = pq.read_table(home.exports / f"{name}.parquet").to_pylist()
        header, *cells = read_csv((home.exports / f"{name}.csv").read_bytes())
        sheet = openpyxl.load_workbook(home.exports / f"{name}.xlsx").worksheets[0]
        assert header == list(rows[0]) == [cell.value for cell in sheet[1]]
        assert len(rows) == len(cells) == sheet.max_row - 1
        column = header.index("amount")
        total = amounts[name.split("_")[0]]
        assert sum(row["amount"] for row in rows) == total
        assert sum(int(row[column]) for row in cells) == total
        assert sum(row[column] for row in sheet.iter_rows(2, values_only=True)) == total


def test_the_suppression_list_is_exact_in_its_addresses_and_safe_elsewhere(home):
    export_all(home)
    content = (home.exports / "suppression_list.csv").read_bytes()
    assert content.startswith(b"address,")
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["address"] for row in rows] == ["=ann@mail.example", "bob@mail.example"]
    assert rows[0]["bounce_text"] == "'=550 gone"
    sheet = openpyxl.load_workbook(home.exports / "suppression_list.xlsx").worksheets[0]
    assert (sheet["A2"].value, sheet["A2"].data_type) == ("=ann@mail.example", "s")


def test_the_manifest_tells_period_rows_and_columns(home):
    export_all(home)
    files = json.loads((home.exports / "manifest.json").read_text())["files"]
    described = files["bounces_by_sending_ip.csv"]
    assert (described["first_day"], described["last_day"]) == ("2026-03-02", "2026-03-31")
    assert (described["class"], described["group_by"], described["amount"]) == ("soft", "sending_ip", 6)
    assert described["columns"]["amount"] == "int64"
    assert len(files) == 15


def test_the_same_data_gives_the_same_bytes(home):
    first = {path.name: path.read_bytes() for path in export_all(home)}
    second = {path.name: path.read_bytes() for path in export_all(home)}
    assert first == second


def test_a_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replace_file(target) as temporary:
        temporary.write_text("half of the new")
        1 / 0  # noqa: B018
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    export = Export("x", "X", pa.table({"a": [1]}), {"rows": 1})
    with pytest.raises(ActionableError, match=r"cannot write to the folder .*file"):
        write_export(export, tmp_path / "file" / "x.csv", "csv")
