"""What a workbook costs: python bench/workbook.py [--rows 100000] [--runs 3]

A published database of 90 days in which the bounces report, by From domain, has so many rows; of it the workbook that
`bouncehouse report --out bounces.xlsx` writes (a sheet by From domain, one by sending IP, charts), each time in a
process of its own: seconds by the clock, processor time, and the most memory that the process held at once.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import figures

from flows.exports.contents import make_report_export, make_report_workbook, write_export
from flows.report import Selection

FIRST_DAY, DAYS = date(2026, 1, 1), 90
TEXTS = 4_000
SENDERS = 5
"""From domains; each sends from an IP of its own, so that both sheets have as many rows."""

DATABASE = f"""
    create schema marts;
    create table marts.ops_sources as select timestamp '2026-03-31 23:59:00' as data_through_at;
    create table marts.ops_publication as
    select 'abc' as rule_set_version, 'smtp_5xx' as suppression_policy, timestamp '2026-04-01 06:00:00' as published_at;
    create table marts.dim_bounce_texts as
    select
        md5(range::varchar)::uuid as text_id,
        '451 4.7.' || range % 90 || ' <EMAIL>: Please try again later, reason ' || range
        || ', see <URL> for what we ask of senders' as bounce_text,
        'The server asks to wait; if it goes on, slow down (rule ' || range % 400 || ')' as description,
        '451 4.7.' || range % 90 || ' <x' || range || '@mail.example>: Please try again later, reason ' || range
        || E'\\nsee https://postmaster.mail.example/' || range || ' for what we ask of senders' as sample_text
    from range({TEXTS});
    create table marts.rpt_bounces_daily as
    select
        date '{FIRST_DAY}' + ((row * 7 + again * 31) % {DAYS})::integer as event_date,
        'campaign' || row % 12 as campaign_id,
        'brand' || row % {SENDERS} || '.example' as from_domain,
        '192.0.2.' || row % {SENDERS} as sending_ip,
        'domain' || row // {SENDERS} || '.example' as recipient_domain,
        'soft' as bounce_class,
        md5((row * 13 % {TEXTS})::varchar)::uuid as text_id,
        ['greylisted', 'mailbox_full', 'rate_limited', 'spam_block', 'service_unavailable'][row % 5 + 1] as reason,
        1 + row % 17 as bounce_count
    from range($rows) as rows (row), range(2) as times (again);
"""


def write_once(database: Path, target: Path) -> dict[str, float]:
    """Write the workbook, and tell of it."""
    selection = Selection(FIRST_DAY, FIRST_DAY + timedelta(days=DAYS - 1))
    started = time.perf_counter()
    exports = [
        make_report_export(database, replace(selection, group_by=group)) for group in ("from_domain", "sending_ip")
    ]
    write_export(make_report_workbook(database, selection, exports), target, "xlsx")
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rows of both sheets": sum(export.table.num_rows for export in exports),
        "seconds": wall,
        "processor time": used.ru_utime + used.ru_stime,
        "peak MB": used.ru_maxrss / 1024,
        "file MB": target.stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the first sheet")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", nargs=2, type=Path, help=argparse.SUPPRESS)
    figures.add_option(parser)
    chosen = parser.parse_args()
    if chosen.write:
        print(json.dumps(write_once(*chosen.write)))
        return
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as folder:
        database, target = Path(folder) / "bouncehouse.duckdb", Path(folder) / "bounces.xlsx"
        with duckdb.connect(database) as connection:
            for statement in DATABASE.split(";\n"):
                parameters = {"rows": chosen.rows} if "$rows" in statement else {}
                connection.execute(statement, parameters)
        runs = [
            json.loads(
                subprocess.run([sys.executable, __file__, "--write", database, target], check=True, stdout=-1).stdout
            )
            for _ in range(chosen.runs)
        ]
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}")
    for name in runs[0]:
        print(f"{name:<22}{statistics.median(run[name] for run in runs):>12,.1f}")
    figures.keep(chosen.json, {name: statistics.median(run[name] for run in runs) for name in runs[0]})


if __name__ == "__main__":
    main()
