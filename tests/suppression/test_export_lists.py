"""`suppression export`: lists for people, partners and providers."""

import csv
import hashlib
import hmac
import io
import time
from datetime import datetime

import openpyxl
import pyarrow.parquet as pq
import pytest

from flows.problems import WrongUsageError
from flows.suppression.actions import write_action
from flows.suppression.exports import LAYOUTS, export_list
from flows.suppression.imports import import_list
from flows.suppression.list_files import ReadOptions
from tests.suppression.published_lists import Fact, decided

KEY = "a key that partners share"
ANN = Fact("ann@mail.example", datetime(2026, 3, 3, 4, 5, 6))
BOB = decided("bob@mail.example", datetime(2026, 3, 9), why='=HYPERLINK("http://x.example")')
WES = Fact("wes@wish.example", datetime(2026, 3, 4), list_name="global", cause="complaint", reply=None, reason=None)


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_the_file_has_the_list_as_it_stands_now_for_its_owner_only(home, tmp_path):
    here = home(ANN, BOB, WES)
    write_action(here, "remove", "ann@mail.example", by="eve", reason="asked")
    assert export_list(here, tmp_path / "list.csv") == 1
    (row,) = rows(tmp_path / "list.csv")
    assert (row["address"], row["cause"], row["why"]) == (
        "bob@mail.example",
        "administrator",
        '\'=HYPERLINK("http://x.example")',
    )
    assert (tmp_path / "list.csv").stat().st_mode & 0o777 == 0o600
    assert export_list(here, tmp_path / "global.csv", list_name="global") == 1
    assert rows(tmp_path / "global.csv")[0]["address"] == "wes@wish.example"


def test_workbooks_and_parquet_hold_the_same(home, tmp_path):
    here = home(ANN, BOB)
    for format_name in ("csv", "xlsx", "parquet"):
        assert export_list(here, tmp_path / f"list.{format_name}", format_name=format_name) == 2
        assert (tmp_path / f"list.{format_name}").stat().st_mode & 0o777 == 0o600
    assert pq.read_table(tmp_path / "list.parquet").column("address").to_pylist() == [
        "ann@mail.example",
        "bob@mail.example",
    ]
    sheet = openpyxl.load_workbook(tmp_path / "list.xlsx").worksheets[0]
    assert [cell.value for cell in sheet["A"]] == ["address", "ann@mail.example", "bob@mail.example"]
    assert {cell.data_type for row in sheet.rows for cell in row} <= {"s", "d", "n"}  # no formula


@pytest.mark.parametrize("key", [KEY, "k" * 200])
def test_hashes_are_those_that_others_compute(home, tmp_path, key):
    here = home(Fact("ann@mail.example"))
    found = {}
    for hashed in ("sha256", "md5", "hmac-sha256"):
        export_list(here, tmp_path / "list.csv", hashed=hashed, key=key)
        (row,) = rows(tmp_path / "list.csv")
        assert "ann@mail.example" not in (tmp_path / "list.csv").read_text() and "why" not in row
        found[hashed] = row[f"address_{hashed.replace('-', '_')}"]
    assert found == {
        "sha256": hashlib.sha256(b"ann@mail.example").hexdigest(),
        "md5": hashlib.md5(b"ann@mail.example").hexdigest(),
        "hmac-sha256": hmac.new(key.encode(), b"ann@mail.example", "sha256").hexdigest(),
    }


@pytest.mark.parametrize("key", [None, "", "short"])
def test_a_key_is_needed_and_must_not_be_guessed(home, tmp_path, key):
    with pytest.raises(WrongUsageError, match="BOUNCEHOUSE_EXPORT_KEY"):
        export_list(home(ANN), tmp_path / "list.csv", hashed="hmac-sha256", key=key)


def test_changes_since_say_what_was_added_and_removed(home, tmp_path):
    here = home(
        Fact("old@mail.example", datetime(2026, 3, 1)),
        Fact("gone@mail.example", datetime(2026, 3, 1)),
        decided("gone@mail.example", datetime(2026, 3, 8), is_removal=True),
        Fact("brief@mail.example", datetime(2026, 3, 6)),
        decided("brief@mail.example", datetime(2026, 3, 7), is_removal=True),
        Fact("new@mail.example", datetime(2026, 3, 5)),
    )
    write_action(here, "remove", "old@mail.example", by="eve", reason="asked")
    export_list(here, tmp_path / "list.csv", since=datetime(2026, 3, 5))
    assert [(row["address"], row["action"], row["changed_at"][:10]) for row in rows(tmp_path / "list.csv")][:3] == [
        ("brief@mail.example", "removed", "2026-03-07"),
        ("gone@mail.example", "removed", "2026-03-08"),
        ("new@mail.example", "added", "2026-03-05"),
    ]
    assert [row["address"] for row in rows(tmp_path / "list.csv")][3:] == ["old@mail.example"]


LAID_OUT = {
    "sendgrid": "email\nann@mail.example\n",
    "mailgun": 'address,code,error,created_at\nann@mail.example,550,user_unknown,"Tue, 03 Mar 2026 04:05:06 +0000"\n',
    "ses": "ann@mail.example,BOUNCE\n",
    "sparkpost": "recipient,type,description\nann@mail.example,transactional,user_unknown\n"
    "ann@mail.example,non_transactional,user_unknown\n",
    "postmark": "ann@mail.example\n",
    "mandrill": "ann@mail.example\n",
    "postal": "type,address,reason,timestamp,keep_until\nrecipient,ann@mail.example,user_unknown,1772510706,",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_providers_get_what_they_import_and_it_comes_back(home, tmp_path, layout):
    here = home(ANN, WES)
    export_list(here, tmp_path / "list.csv", layout=layout)
    written = (tmp_path / "list.csv").read_text()
    if layout == "postal":  # which keeps an entry for 30 days from now
        written, _, keep_until = written.rpartition("1772510706,")
        assert 29 * 86400 < int(keep_until) - time.time() < 31 * 86400
        written += "1772510706,"
    assert written == LAID_OUT[layout]
    export_list(here, tmp_path / "global.csv", layout=layout, list_name="global")
    for name, list_name in (("list.csv", "suppression"), ("global.csv", "global")):
        result = import_list(
            here, tmp_path / name, by="eve", reason="back", list_name=list_name, options=ReadOptions(), dry_run=True
        )
        assert result.new == {list_name: 1}


def test_an_address_that_begins_like_a_formula_is_exact_and_quoted_where_needed(home, tmp_path):
    here = home(Fact("=1+1@mail.example"), Fact('a"b,c@mail.example'))
    export_list(here, tmp_path / "list.csv")
    assert [row["address"] for row in rows(tmp_path / "list.csv")] == ["=1+1@mail.example", 'a"b,c@mail.example']
    export_list(here, tmp_path / "ses.csv", layout="ses")
    assert list(csv.reader(io.StringIO((tmp_path / "ses.csv").read_text())))[1] == ['a"b,c@mail.example', "BOUNCE"]


@pytest.mark.parametrize(
    "options",
    [{"layout": "ses", "hashed": "md5"}, {"layout": "ses", "format_name": "xlsx"}],
)
def test_what_cannot_be_meant_together_is_refused(home, tmp_path, options):
    with pytest.raises(WrongUsageError):
        export_list(home(ANN), tmp_path / "list.csv", **options)
    with pytest.raises(WrongUsageError, match="folder"):
        export_list(home(ANN), tmp_path)
