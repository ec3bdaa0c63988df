"""The page in real Chromium: what it shows and gives away is compared with the database that it was made from."""

import csv
import io
import re
import threading
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import openpyxl
import pytest

from flows.exports.csv_file import write_csv
from flows.report import NOT_LOGGED, Selection, open_published, report
from tests.page.conftest import opened

pytestmark = pytest.mark.xdist_group("warehouse")

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
FILES = (("bounces", "soft"), ("bounces", "hard"), ("bounces", "all"), ("undeliveries", "all"))


def choose(page, name: str, value: str) -> None:
    page.locator(f"input[name={name}][value={value}]").check(force=True)


def pick(page, name: str, word: str) -> None:
    """Choose from a list by keyboard, as a person does."""
    field = page.locator(f"#{name}-ts-control")
    field.focus()
    field.fill(word)
    page.wait_for_function(
        "([name, word]) => document.querySelector(`#${name}-ts-dropdown .option.active`)?.textContent === word",
        arg=[name, word],
    )
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")


def count(page) -> int:
    return int(page.locator("#totals strong").inner_text().replace(",", ""))


def download(page, kind: str) -> bytes:
    with page.expect_download() as waiting:
        page.locator(f"#{kind}").click()
    return Path(waiting.value.path()).read_bytes()


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def expect_csv(table) -> list[dict[str, str]]:
    """The report as its own CSV for spreadsheets has it."""
    target = io.BytesIO()
    write_csv(table, target, excel_safe=True)
    return read_csv(target.getvalue())


def ask(warehouse, statement: str, parameters=()):
    with open_published(warehouse.database) as connection:
        return connection.execute(statement, parameters).fetchall()


def test_every_row_that_is_downloaded_is_that_of_the_report(page, warehouse):
    for (what, bounce_class), grouping in product(FILES, ("from_domain", "sending_ip")):
        choose(page, "what", what)
        choose(page, "class", bounce_class)
        choose(page, "grouping", grouping)
        selection = Selection(FIRST, LAST, None, grouping, bounce_class, what == "undeliveries")
        expected = report(warehouse.database, selection)
        total = sum(expected.column("amount").to_pylist())
        assert count(page) == total > 0
        content = download(page, "csv")
        assert content.startswith(b"\xef\xbb\xbf") and content.endswith(b"\r\n")
        rows = read_csv(content)
        shares = [float(row.pop("share")) for row in rows]
        assert rows == expect_csv(expected)
        assert shares == [amount / total for amount in expected.column("amount").to_pylist()]


def test_the_workbook_has_the_rows_of_the_report_as_numbers_and_text(page, warehouse):
    choose(page, "class", "all")
    pick(page, "campaign_id", "spring-sale")
    (tmp := io.BytesIO(download(page, "xlsx"))).seek(0)
    book = openpyxl.load_workbook(tmp)
    sheet = book["Bounces"]
    header, *rows = sheet.iter_rows(values_only=True)
    expected = report(warehouse.database, Selection(FIRST, LAST, "spring-sale", "from_domain", "all"))
    assert expected.num_rows > 0
    names = [name for name in header if name != "share"]
    assert names == expected.column_names
    read = [dict(zip(header, row, strict=True)) for row in rows]
    assert [{name: row[name] for name in names} for row in read] == expected.to_pylist()
    assert {type(row["amount"]) for row in read} == {int}
    assert sum(row["share"] for row in read) == pytest.approx(1)
    info = dict(book["Info"].iter_rows(values_only=True))
    assert info["campaign"] == "spring-sale"
    assert info["amount"] == sum(expected.column("amount").to_pylist())
    assert info["rule_set_version"] in page.locator("#made").inner_text()


def test_lists_and_period_choose_what_the_database_has(page, warehouse):
    """One campaign, several, a provider, a domain, a source, fewer days: each narrows what is left, as in SQL."""
    choose(page, "class", "all")
    conditions = ["true"]

    def check() -> int:
        ((expected,),) = ask(
            warehouse, f"select sum(bounce_count) from marts.rpt_bounces_daily where {' and '.join(conditions)}"
        )
        assert count(page) == expected > 0
        return expected

    everything = check()
    pick(page, "campaign_id", "spring-sale")
    conditions.append("campaign_id in ('spring-sale')")
    one = check()
    pick(page, "campaign_id", NOT_LOGGED)
    conditions[-1] = "(campaign_id = 'spring-sale' or campaign_id is null)"
    assert one < check() < everything
    for name, column, word in (
        ("provider", "provider", "other"),
        ("source_name", "source_name", "kumomta"),
        ("recipient_domain", "recipient_domain", "bigmail.example"),
    ):
        pick(page, name, word)
        conditions.append(f"{column} = '{word}'")
        check()
    page.locator("#from").fill("2026-03-03")
    page.locator("#to").fill("2026-03-05")
    page.locator("#to").blur()
    conditions.append("event_date between '2026-03-03' and '2026-03-05'")
    check()
    page.get_by_role("button", name="Reset").click()
    assert (
        count(page)
        == ask(warehouse, "select sum(bounce_count) from marts.rpt_bounces_daily where bounce_class = 'soft'")[0][0]
    )


def read_figures(page, name: str) -> list[list[str]]:
    page.locator(f"details:has(#{name}-figures)").evaluate("details => { details.open = true; }")
    page.locator(f"#{name}-figures tbody tr").first.wait_for()
    return page.locator(f"#{name}-figures").evaluate(
        "table => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def test_charts_have_the_figures_of_the_marts(page, warehouse):
    pick(page, "source_name", "kumomta")
    header, *rows = read_figures(page, "reasons")
    shown = {
        (row[0], reason.replace(" ", "_")): int(amount)
        for row in rows
        for reason, amount in zip(header[1:-1], row[1:-1], strict=True)
        if amount != "0"
    }
    expected = ask(
        warehouse,
        """select event_date::varchar, reason, sum(bounce_count) from marts.rpt_bounces_daily
        where source_name = 'kumomta' and bounce_class = 'soft' group by all""",
    )
    assert shown == {(day, reason): amount for day, reason, amount in expected}
    assert len(rows) == 7
    for name, column in (("provider-rate", "provider"), ("ip-rate", "sending_ip")):
        expected = ask(
            warehouse,
            f"""select
                coalesce({column}, '{NOT_LOGGED}') as name,
                sum(deferred_first_attempt_count + delivered_first_attempt_count + bounced_first_attempt_count)
                    as first_attempts,
                sum(deferred_first_attempt_count) as deferred
            from marts.rpt_delivery_daily
            where source_name = 'kumomta' group by all having first_attempts > 0 order by first_attempts desc, name""",
        )
        _, *rows = read_figures(page, name)
        assert [(row[0], int(row[1]), int(row[2])) for row in rows] == expected
        assert all(
            abs(float(row[3].rstrip("%")) - 100 * deferred / first) <= 0.5
            for row, (_, first, deferred) in zip(rows, expected, strict=True)
        )
    assert re.match(
        r"Bar chart: soft bounces by day and reason, 2026-03-02 to",
        page.locator("#reasons").get_attribute("aria-label"),
    )


def test_new_and_grown_replies_are_those_of_the_mart(page, warehouse):
    choose(page, "class", "all")
    shown = page.locator("#changes tbody").evaluate(
        "body => [...body.rows].map((row) => [0, 1, 2, 3].map((index) => row.cells[index].textContent))"
    )
    expected = ask(
        warehouse,
        """select event_date::varchar, change, bounce_text, bounce_count::varchar from marts.rpt_new_bounce_texts
        order by event_date desc, bounce_count desc, bounce_text""",
    )
    assert shown == [list(row) for row in expected][:100]
    page.get_by_role("button", name=re.compile("^Search for")).first.click()
    ((amount,),) = ask(
        warehouse,
        """select sum(bounce_count) from marts.rpt_bounces_daily
        inner join marts.dim_bounce_texts using (text_id) where contains(bounce_text, ?)""",
        [expected[0][2]],
    )
    assert count(page) == amount


def test_alerts_are_those_of_the_days_and_providers_chosen(page, warehouse):
    def read() -> list[list[str]]:
        return page.locator("#alerts tbody").evaluate(
            "body => [...body.rows].map((row) => [0, 1, 3, 4].map((index) => row.cells[index].textContent))"
        )

    def expect(condition: str) -> list[list[str]]:
        rows = ask(
            warehouse,
            f"""select event_date::varchar, level, dimension, coalesce(dimension_value, '{NOT_LOGGED}'), event_count, volume_count
            from marts.rpt_alerts where {condition}""",
        )
        labels = {
            "from_domain": "From domain",
            "sending_ip": "Sending IP",
            "provider": "Provider",
            "bounce_text": "Reply",
        }
        return sorted(
            [day, level, f"{labels[dimension]} {name}", f"{amount} of {volume}"]
            for day, level, dimension, name, amount, volume in rows
        )

    assert sorted(read()) == expect("true") != []
    page.get_by_role("button", name="Last day only").click()
    assert sorted(read()) == expect("event_date = '2026-03-08'") != []
    page.get_by_role("button", name="All days of this page").click()
    pick(page, "provider", "microsoft")
    assert sorted(read()) == expect("dimension <> 'provider' or dimension_value = 'microsoft'") != []


def test_search_finds_words_anywhere_and_phrases_whole(page, warehouse):
    choose(page, "class", "all")

    def expect(condition: str) -> int:
        ((amount,),) = ask(
            warehouse,
            f"""select coalesce(sum(bounce_count), 0)::bigint
            from marts.rpt_bounces_daily as counts left join marts.dim_bounce_texts as texts using (text_id)
            where {condition}""",
        )
        return amount

    def has(word: str) -> str:
        columns = [
            "bounce_text",
            "description",
            "sample_text",
            "counts.reason",
            "recipient_domain",
            "from_domain",
            "sending_ip",
            "campaign_id",
            "source_name",
            "provider",
        ]
        return "(" + " or ".join(f"coalesce(contains(lower({column}), '{word}'), false)" for column in columns) + ")"

    def search(words: str) -> int:
        page.locator("#search").fill(words)
        page.wait_for_function("words => selection.search === words", arg=words)
        return count(page)

    assert search("QUOTA") == expect(has("quota")) > 0
    assert search("quota brand.example") == expect(f"{has('quota')} and {has('brand.example')}") > 0
    assert search('"over quota"') == expect(has("over quota")) > 0
    assert search("no such words anywhere") == 0
    assert "No bounces from 2026-03-02 to 2026-03-08" in page.locator("#table").inner_text()
    assert read_csv(download(page, "csv")) == []


def test_whole_original_by_pointer_and_by_keyboard(page, warehouse):
    expected = report(warehouse.database, Selection(FIRST, LAST)).slice(0, 2).to_pylist()
    assert expected[0]["sample_message"] != expected[0]["bounce_text"]
    whole = page.locator("#whole")
    first = page.locator("#table .reply").first
    assert first.inner_text() == expected[0]["bounce_text"]
    assert whole.is_hidden()
    first.hover()
    whole.wait_for()
    assert page.locator("#whole-text").inner_text() == expected[0]["sample_message"]
    whole.hover()
    page.wait_for_timeout(250)
    assert whole.is_visible()  # it can be read, and copied from, by pointer
    page.mouse.move(2, 2)
    whole.wait_for(state="hidden")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#table .reply')"):
            break
    focused = page.locator("#table .reply:focus")
    assert whole.is_visible()
    assert page.locator("#whole-text").inner_text() == expected[0]["sample_message"]
    assert focused.get_attribute("aria-describedby") == whole.get_attribute("id")
    assert whole.get_attribute("role") == "tooltip"
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "text => document.getElementById('whole-text').textContent === text", arg=expected[1]["sample_message"]
    )
    page.keyboard.press("Escape")
    assert whole.is_hidden()


def test_headings_sort_by_pointer_and_by_keyboard(page, warehouse):
    amounts = page.locator("#table .tabulator-cell[tabulator-field=amount]")
    heading = page.locator("#table").get_by_role("columnheader", name="Amount")
    assert heading.get_attribute("aria-sort") == "descending"
    heading.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=columnheader][tabulator-field=amount][aria-sort=ascending]")
    assert amounts.first.inner_text() == "1"
    page.locator("#table").get_by_role("columnheader", name="Receiving domain").click()
    page.wait_for_selector("[role=columnheader][tabulator-field=recipient_domain][aria-sort=ascending]")
    rows = read_csv(download(page, "csv"))
    domains = [row["recipient_domain"] for row in rows]
    assert domains == sorted(domains) and len(set(domains)) > 3
    assert page.locator("#table .tabulator-cell[tabulator-field=recipient_domain]").first.inner_text() == domains[0]
    page.locator("#table").get_by_role("columnheader", name="Description").click()
    page.wait_for_selector("[role=columnheader][tabulator-field=description][aria-sort=ascending]")
    descriptions = [row["description"] for row in read_csv(download(page, "csv"))]
    assert descriptions == sorted(descriptions, key=str.lower)


def test_link_carries_the_selection(browser, page_file, page, warehouse):
    choose(page, "what", "undeliveries")
    choose(page, "grouping", "sending_ip")
    pick(page, "campaign_id", "spring-sale")
    page.locator("#to").fill("2026-03-06")
    page.locator("#to").blur()
    page.locator("#search").fill("user")
    page.locator("#table").get_by_role("columnheader", name="Reply (masked)").click()
    page.wait_for_function("location.hash.includes('search=user') && location.hash.includes('sort=text')")
    address, said, rows = page.url, page.locator("#totals").inner_text(), read_csv(download(page, "csv"))
    assert rows
    with opened(browser, address) as other:
        assert other.locator("#totals").inner_text() == said
        assert read_csv(download(other, "csv")) == rows
        assert other.locator("#campaign_id-ts-control").locator("xpath=..").inner_text().startswith("spring-sale")
        assert other.locator("input[name=grouping][value=sending_ip]").is_checked()
    with opened(
        browser, f'{page_file.as_uri()}#campaign=gone&campaign="]&class=nonsense&from=1999-01-01&sort=x+y'
    ) as other:
        assert count(other) == 0  # never more than was asked for
        assert "campaign gone" in other.locator("#totals").inner_text()
        other.get_by_role("button", name="Reset").click()
        assert count(other) == count(page) or count(other) > 0


def test_link_is_copied(browser, page_file):
    with opened(browser, page_file.as_uri(), permissions=["clipboard-read", "clipboard-write"]) as page:
        choose(page, "class", "hard")
        page.get_by_role("button", name="Copy link").click()
        page.get_by_role("button", name="Link copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == f"{page_file.as_uri()}#class=hard"


def test_no_request_leaves_the_page_from_a_web_server_either(browser, page_file):
    """`opened` sees to it that nothing but the page itself was asked for; here the server tells the same."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page_file.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/{page_file.name}"
        with opened(browser, address) as page:
            choose(page, "class", "all")
            page.locator("#table .reply").first.hover()
            assert download(page, "xlsx").startswith(b"PK")
        assert asked == [f"/{page_file.name}"]
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        tried = page.evaluate(
            """async () => {
                const done = [];
                await fetch('/leak').then(() => done.push('fetch'), () => {});
                await new Promise((end) => {
                    const image = new Image();
                    image.onload = image.onerror = end;
                    image.src = '/leak.png';
                });
                const script = document.createElement('script');
                script.textContent = 'window.injected = 1';
                document.body.append(script);
                const markup = document.createElement('div');
                markup.innerHTML = '<img src=x onerror="window.injected = 2"><form action=/leak></form>';
                document.body.append(markup);
                await new Promise((end) => setTimeout(end, 50));
                return [done, window.injected ?? null];
            }"""
        )
        assert tried == [[], None]
        assert asked == [f"/{page_file.name}"] * 2
        context.close()
    finally:
        server.shutdown()
        server.server_close()


def test_light_dark_narrow_and_print(browser, page_file):
    with opened(browser, page_file.as_uri(), color_scheme="dark") as page:

        def back() -> str:
            return page.evaluate("getComputedStyle(document.body).backgroundColor")

        dark = back()
        page.get_by_role("button", name="Switch to light").click()
        assert back() != dark
        page.get_by_role("button", name="Switch to dark").click()
        assert back() == dark
        page.set_viewport_size({"width": 360, "height": 700})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator(".tabulator-print-table tbody tr").count() == 100
        page.emulate_media(media="print")
        assert page.locator("#selection").is_hidden()
        page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_every_control_has_a_name_and_totals_are_announced(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas, [role=grid]')]
            .filter((element) => element.checkVisibility() && !element.ariaHidden && !(element.ariaLabel || element.labels?.length
                || element.textContent.trim() || element.getAttribute('aria-labelledby')))
            .map((element) => element.outerHTML)"""
    )
    assert unnamed == []
    assert page.get_by_role("status").inner_text().startswith(page.locator("#totals strong").inner_text())
    assert page.get_by_role("grid", name="Replies").get_attribute("aria-rowcount")
    assert page.get_by_role("combobox", name="Campaign").count() == 1
