"""Writing the page, without a browser: what it holds, what it refuses, and what is shipped with it."""

import base64
import gzip
import json
import re
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

import flows.page
from flows.page import OTHER_DOMAINS, write_page
from flows.problems import ActionableError, WrongUsageError
from tests.published_database import Bounce, make_published

DAY = date(2026, 3, 5)


def read_page(path: Path) -> tuple[dict, dict[str, dict[str, list[int]]]]:
    """The data of a page as its browser unpacks it: the header, and the columns of the tables."""
    packed = re.search(r'id="data">([A-Za-z0-9+/=]+)</script>', path.read_text())[1]
    data = gzip.decompress(base64.b64decode(packed))
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    body = data[4 + length :]
    tables = {
        name: {
            column: memoryview(body[place : place + width * table["rows"]])
            .cast({1: "B", 2: "H", 4: "I"}[width])  # type: ignore[call-overload]
            .tolist()
            for column, (place, width) in table["columns"].items()
        }
        for name, table in header["tables"].items()
    }
    return header, tables


@pytest.fixture
def database(tmp_path):
    path = make_published(tmp_path / "published.duckdb", [Bounce(datetime(2026, 3, 5))])
    with duckdb.connect(str(path)) as connection:
        connection.execute("""
            update marts.rpt_bounces_daily set bounce_count = 70000;
            insert into marts.rpt_delivery_daily
            select '2026-03-05', 'ses', null, 'a.example', null, 'domain' || number || '.example', 'other', number, 1
            from range(300) as numbers (number)
        """)
    return path


def test_page_is_one_file_that_names_nothing_outside(database, tmp_path):
    assert write_page(database, tmp_path / "a.html", DAY, DAY) == {"bounces": 1, "undeliveries": 0, "delivery": 300}
    written = (tmp_path / "a.html").read_text()
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", written, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!data:)", markup)
    assert "sourceMappingURL" not in written
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written)[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert (tmp_path / "a.html").stat().st_mode & 0o077 == 0
    write_page(database, tmp_path / "b.html", DAY, DAY)
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_columns_are_as_wide_as_their_largest_number(database, tmp_path):
    write_page(database, tmp_path / "a.html", DAY, DAY)
    header, tables = read_page(tmp_path / "a.html")
    assert header["tables"]["bounces"]["columns"]["amount"][1] == 4
    assert header["tables"]["delivery"]["columns"]["recipient_domain"][1] == 2
    assert tables["bounces"]["amount"] == [70_000]
    assert header["words"]["campaign_id"] == ["(not logged)", "spring"]
    assert header["texts"]["bounce_text"] == ["451 Please try again later"]


def test_small_domains_are_counted_together_where_there_are_too_many(database, tmp_path, monkeypatch):
    monkeypatch.setattr(flows.page, "DELIVERY_ROWS", 299)
    assert write_page(database, tmp_path / "a.html", DAY, DAY)["delivery"] == flows.page.DELIVERY_DOMAINS + 1
    header, tables = read_page(tmp_path / "a.html")
    assert sum(tables["delivery"]["attempts"]) == sum(range(300)) + 300
    assert sum(tables["delivery"]["deferred"]) == 300
    others = header["words"]["recipient_domain"].index(OTHER_DOMAINS)
    row = tables["delivery"]["recipient_domain"].index(others)
    assert tables["delivery"]["attempts"][row] == sum(range(100)) + 100


@pytest.mark.parametrize("days", [(DAY, date(2026, 3, 4)), (date(1990, 1, 1), DAY)])
def test_period_that_cannot_be_is_refused(database, tmp_path, days):
    with pytest.raises(WrongUsageError, match="a page cannot cover"):
        write_page(database, tmp_path / "a.html", *days)
    assert not (tmp_path / "a.html").exists()


def test_nothing_published_is_told(tmp_path):
    with pytest.raises(ActionableError, match="nothing is published yet"):
        write_page(tmp_path / "no.duckdb", tmp_path / "a.html", DAY, DAY)


def test_command_writes_the_page_and_tells_what_it_needs(database, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from flows.cli import main; main()", "report", "--home", str(tmp_path)]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)

    database.rename(tmp_path / "bouncehouse.duckdb")
    done = run("--from", "2026-03-05", "--to", "2026-03-05", "--out", str(tmp_path / "bounces.html"))
    assert (done.returncode, done.stdout) == (0, "")
    assert "wrote the page of 2026-03-05 to 2026-03-05, 301 rows" in done.stderr
    header, _ = read_page(tmp_path / "bounces.html")
    assert (header["first_day"], header["last_day"]) == ("2026-03-05", "2026-03-05")
    refused = run("--format", "html")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--format html needs a file\n-> say where with --out FILE" in refused.stderr
    refused = run("--out", str(tmp_path / "c.html"), "--campaign", "spring")
    assert refused.returncode == 2
    assert "leave out all but --from, --to and --out" in refused.stderr
    assert not (tmp_path / "c.html").exists()


def test_libraries_are_named_with_version_and_licence():
    vendor = Path(flows.page.__file__).parent / "vendor"
    said = (vendor / "README.md").read_text()
    for file in [*vendor.glob("*.js"), *vendor.glob("*.css")]:
        assert f"`{file.name}`" in said
        licence = vendor / f"{file.name.split('.')[0].split('_')[0]}.LICENSE"
        assert "opyright" in licence.read_text()
        assert "</script" not in file.read_text().lower() and "<!--" not in file.read_text()
    assert sum(file.stat().st_size for file in vendor.iterdir()) < 2_000_000
