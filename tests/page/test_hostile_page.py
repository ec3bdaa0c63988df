"""Replies, names and domains that would act if they could: as markup, script, formula, selector or direction of text."""

import io
import re
from datetime import date, datetime

import duckdb
import openpyxl
import pytest

from flows.page import write_page
from flows.report import Selection, report
from flows.tables import show_plainly
from tests.page.conftest import opened
from tests.page.test_page import choose, count, download, expect_csv, read_csv
from tests.published_database import Bounce, NonDelivery, make_published

pytestmark = pytest.mark.xdist_group("warehouse")

DAY = date(2026, 3, 5)
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 2'>",
    '"><svg onload=window.hacked=3>',
    "=cmd|'/c calc'!A0",
    "\t@SUM(1)",
    "a;=1+1\r\n-2",
    "\u202eevil\u2066\u200b\x1b[31m\x00\x85\u2028",
    "_x0041_ ]]> &amp; &lt;",
    "\\'\"]{{data}} \\1 $& $'",
    "ｍ＝1",  # noqa: RUF001
    "\U000e0001\ue000 🎉 ⁣",
]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Each hostile text as reply, whole original, campaign, domains and IP, with an amount of its own."""
    path = make_published(
        tmp_path_factory.mktemp("hostile") / "published.duckdb",
        [
            Bounce(datetime(2026, 3, 5), text, text, text, text, bounce_text=text, reason=text)
            for number, text in enumerate(HOSTILE, start=1)
            for _ in range(number)
        ],
        [NonDelivery(datetime(2026, 3, 5), recipient_domain=text, bounce_text=text, reason=text) for text in HOSTILE],
        samples={text: f"original {text}" for text in HOSTILE},
    )
    with duckdb.connect(str(path)) as connection:
        connection.execute("""
            insert into marts.rpt_delivery_daily
            select event_date, source_name, campaign_id, from_domain, sending_ip, recipient_domain, from_domain, 1, 1
            from marts.rpt_bounces_daily;
            insert into marts.rpt_new_bounce_texts
            select event_date, text_id, 'new', '', reason, bounce_count, 0, 3, null, '' from marts.rpt_bounces_daily
        """)
    return path


@pytest.fixture(scope="module")
def hostile_file(database, tmp_path_factory):
    target = tmp_path_factory.mktemp("hostile") / "it's <b>#1.html"
    write_page(database, target, DAY, DAY)
    return target


def test_nothing_acts_and_all_is_shown_plainly(browser, database, hostile_file):
    with opened(browser, hostile_file.as_uri()) as page:
        for what in ("bounces", "undeliveries"):
            choose(page, "what", what)
            cells = page.locator("#table .reply").evaluate_all("cells => cells.map((cell) => cell.textContent)")
            assert set(cells) == {show_plainly(text) for text in HOSTILE}
            assert len(cells) == len(HOSTILE)
        choose(page, "what", "bounces")
        first = page.locator("#table .reply").first
        first.hover()
        assert page.locator("#whole-text").evaluate("whole => whole.textContent") == show_plainly(
            f"original {HOSTILE[-1]}", keep_lines=True
        )
        for name in ("provider-rate", "ip-rate", "reasons"):
            page.locator(f"details:has(#{name}-figures)").evaluate("details => { details.open = true; }")
        page.locator("#ip-rate-figures tbody tr").first.wait_for()
        names = page.locator("#ip-rate-figures tbody th").evaluate_all("cells => cells.map((cell) => cell.textContent)")
        assert set(names) == {show_plainly(text) for text in HOSTILE}
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        printed = page.locator(".tabulator-print-table .reply").evaluate_all(
            "cells => cells.map((cell) => cell.textContent)"
        )
        assert set(printed) == {show_plainly(text) for text in HOSTILE}
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("window.hacked ?? null") is None
        assert page.locator("script").count() == page.evaluate("document.scripts.length") == 8


def test_hostile_names_can_be_chosen_and_carried_in_a_link(browser, hostile_file):
    with opened(browser, hostile_file.as_uri()) as page:
        for amount, text in list(enumerate(HOSTILE, start=1))[1::2]:
            page.locator("#campaign_id-ts-control").focus()
            options = page.locator("#campaign_id-ts-dropdown .option")
            shown = options.evaluate_all("options => options.map((option) => option.textContent)")
            options.nth(shown.index(show_plainly(text))).click()
            page.keyboard.press("Escape")
            assert count(page) == amount
            if amount % 4 == 0:
                with opened(browser, page.url) as other:
                    assert count(other) == amount
            page.get_by_role("button", name="Reset").click()
        assert page.evaluate("window.hacked ?? null") is None


def test_downloads_are_those_of_the_report_and_no_cell_is_a_formula(browser, database, hostile_file):
    with opened(browser, hostile_file.as_uri()) as page:
        expected = report(database, Selection(DAY, DAY))
        rows = read_csv(download(page, "csv"))
        for row in rows:
            del row["share"]
        assert rows == expect_csv(expected)
        book = openpyxl.load_workbook(io.BytesIO(download(page, "xlsx")))
        header, *lines = book["Bounces"].iter_rows()
        assert {cell.data_type for line in lines for cell in line} == {"s", "n"}
        assert not any(cell.hyperlink for line in lines for cell in line)
        read = [{name.value: cell.value for name, cell in zip(header, line, strict=True)} for line in lines]
        for row in read:
            del row["share"]
        assert read == [{name: spell_for_xml(value) for name, value in row.items()} for row in expected.to_pylist()]


def spell_for_xml(value):
    """What XML cannot hold is spelled as Excel does it, which openpyxl leaves so."""
    if not isinstance(value, str):
        return value
    return re.sub("[\x00-\x08\x0b-\x1f]", lambda match: f"_x{ord(match[0]):04X}_", value)


def test_an_empty_database_makes_a_page_that_says_so(browser, tmp_path):
    database = make_published(tmp_path / "published.duckdb", data_through_at=None)
    write_page(database, tmp_path / "empty.html", DAY, DAY)
    with opened(browser, (tmp_path / "empty.html").as_uri()) as page:
        assert count(page) == 0
        assert "No bounces at all from 2026-03-05 to 2026-03-05." in page.locator("#table").inner_text()
        assert "no data yet" in page.locator("#made").inner_text()
        choose(page, "what", "undeliveries")
        choose(page, "grouping", "sending_ip")
        assert read_csv(download(page, "csv")) == []
        assert download(page, "xlsx").startswith(b"PK")
