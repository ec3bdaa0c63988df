"""Time the page of 90 days and 200,000 aggregate rows: writing it, its size, and until a browser can be used on it.

    python bench/page.py [--rows 200000] [--days 90] [--runs 3] [--chromium /usr/bin/chromium]

The rows are made by DuckDB with the columns of the marts, as a large sender's: a few campaigns a day, many receiving
domains, thousands of replies. A quarter as many non-deliveries and half as many delivery counts come on top. The times
in the browser are those of headless Chromium, from navigation to the page's being drawn, and from a choice to its being
drawn; without Chromium they are left out. The fastest run counts, beside it the processor time (of this process; of the
page's main thread), as others use the machine too.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import figures

from flows.page import write_page

FIRST_DAY = date(2026, 1, 1)
CHROMIUM_FLAGS = [
    f"--{flag}"
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    )
]

CHOICES = {
    "group by sending IP": "document.querySelector('[name=grouping][value=sending_ip]').click()",
    "class all": "document.querySelector('[name=class][value=all]').click()",
    "one provider": "change({provider: new Set([warehouse.words.provider[3]])})",
    "search": "change({search: 'quota 17'})",
    "undeliveries": "document.querySelector('[name=what][value=undeliveries]').click()",
    "sort by reply": "table.setSort('text', 'asc')",
    "reset": "document.querySelector('#reset').click()",
}


def make_marts(database: Path, rows: int, days: int) -> None:
    dimensions = f"""
        ({"{day}"} + (number % {days})::integer) as {"{moment}"},
        ['kumomta', 'postfix', 'ses'][1 + pick(number, 's', 3)] as source_name,
        'campaign-' || (number % {days} // 3 * 2 + pick(number, 'c', 6)) as campaign_id,
        'brand' || pick(number, 'f', 12) || '.example' as from_domain,
        '198.51.100.' || pick(number, 'i', 24) as sending_ip,
        'domain' || skewed(number, 'd', 3, 5000) || '.example' as recipient_domain,
        'provider' || skewed(number, 'd', 3, 20) as provider
    """.replace("{day}", f"date '{FIRST_DAY}'")
    text_number = "skewed(number, 't', 4, 5000)"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"""
            create temp macro pick(number, salt, size) as (hash(number, salt) % size)::integer;
            create temp macro skewed(number, salt, exponent, size) as
                (power(pick(number, salt, 100000) / 100000.0, exponent) * size)::integer;
            create schema marts;
            create table marts.dim_bounce_texts as
            select
                md5(number::varchar)::uuid as text_id,
                (['452 4.2.2', '421 4.7.0', '550 5.1.1'][1 + number % 3]) || ' <EMAIL>: refused for the reason '
                || number || ', mailbox is over quota or the sender is unknown here, see <URL>' as bounce_text,
                'What happened is of kind ' || (number % 40)
                || ': look at the mailbox, then at the sender, and wait.' as description,
                'reason_' || (number % 20) as reason,
                bounce_text || ' for somebody' || md5(number || 'who') || '@domain.example ' || md5(number || 'id')
                || md5(number || 'more') as sample_text
            from range(5001) as numbers (number);
            create table marts.rpt_bounces_daily as
            select
                {dimensions.replace("{moment}", "event_date")},
                if(pick(number, 'k', 3) = 0, 'hard', 'soft') as bounce_class,
                md5({text_number}::varchar)::uuid as text_id,
                'reason_' || ({text_number} % 20) as reason,
                (1 + pick(number, 'n', 40))::bigint as bounce_count
            from range({rows}) as numbers (number);
            create table marts.rpt_undeliveries_daily as
            select
                {dimensions.replace("{moment}", "undelivered_date")},
                'hard_bounce' as cause,
                'hard' as bounce_class,
                md5({text_number}::varchar)::uuid as text_id,
                'reason_' || ({text_number} % 20) as reason,
                (1 + pick(number, 'n', 40))::bigint as undelivery_count
            from range({rows // 4}) as numbers (number);
            create table marts.rpt_delivery_daily as
            select
                {dimensions.replace("{moment}", "event_date")},
                pick(number, 'x', 900)::bigint as delivered_first_attempt_count,
                pick(number, 'y', 100)::bigint as deferred_first_attempt_count,
                pick(number, 'z', 20)::bigint as bounced_first_attempt_count
            from range({rows // 2}) as numbers (number);
            create table marts.rpt_new_bounce_texts as
            select
                date '{FIRST_DAY}' + (number % {days})::integer as event_date,
                md5(number::varchar)::uuid as text_id,
                'new' as change,
                5::bigint as bounce_count,
                0.0 as usual_count,
                30 as history_day_count,
                null::date as previous_date
            from range(300) as numbers (number);
            create table marts.ops_sources as select timestamp '2026-03-31 23:59:59' as data_through_at;
            create table marts.ops_publication as
            select
                'abc123' as rule_set_version,
                'smtp_5xx' as suppression_policy,
                timestamp '2026-04-01 06:00:00' as published_at;
        """)


def clock(work: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def time_in_browser(page_file: Path, chromium: str, runs: int) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        taken, busy = [], []
        for _ in range(runs):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready]")
            taken.append(page.evaluate("performance.measure('ready', undefined, 'ready').duration"))
            metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
            busy.append(metrics["TaskDuration"])
            if len(taken) < runs:
                page.close()
        print(f"  interactive after         {min(taken) / 1000:8.2f} s, processor time {min(busy):.2f} s")
        found = {"interactive": min(taken) / 1000, "interactive, processor time": min(busy)}
        for name, action in CHOICES.items():
            milliseconds = page.evaluate(
                f"""async () => {{
                    const started = performance.now();
                    {action};
                    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                    return performance.now() - started;
                }}"""
            )
            found[name] = milliseconds / 1000
            print(f"  {name:25} {found[name]:8.2f} s, {page.evaluate('seen.lines.length'):,} rows in the table")
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    figures.add_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database, page_file = Path(folder) / "published.duckdb", Path(folder) / "bounces.html"
        make_marts(database, given.rows, given.days)
        last_day = FIRST_DAY + timedelta(days=given.days - 1)
        counted = write_page(database, page_file, FIRST_DAY, last_day)
        print(f"{given.days} days: {', '.join(f'{rows:,} rows of {name}' for name, rows in counted.items())}")
        started = time.process_time()
        seconds = clock(lambda: write_page(database, page_file, FIRST_DAY, last_day), given.runs)
        busy = (time.process_time() - started) / given.runs
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  written in                {seconds:8.2f} s, processor time {busy:.2f} s, memory {memory:,.0f} MB")
        print(f"  size                      {page_file.stat().st_size / 1e6:8.2f} MB")
        found = {"written": seconds, "written, processor time": busy, "memory_mb": memory, "rows": counted}
        found["bytes"] = page_file.stat().st_size
        if Path(given.chromium).exists():
            found |= time_in_browser(page_file, given.chromium, given.runs)
        else:
            print("  in a browser              needs Chromium (Debian's package of that name), and playwright")
    figures.keep(given.json, found)


if __name__ == "__main__":
    main()
