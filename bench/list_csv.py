"""What a list costs as CSV: python bench/list_csv.py [--rows 475000] [--runs 3]

A suppression list of so many addresses, as it is exported each day, written by us (exact, and safe for spreadsheets)
and by Python's own `csv.writer`, in turn: medians of the seconds by the clock, and their ratio to that writer. The
bytes must be the same.
"""

import argparse
import csv
import io
import os
import statistics
import time
from collections.abc import Callable

import duckdb
import figures
import pyarrow as pa

from flows.exports.csv_file import csv_profile, write_csv

LIST = """
    select
        'recipient' || range || '@domain' || range % 9000 || '.example' as address,
        'domain' || range % 9000 || '.example' as recipient_domain,
        timestamp '2026-01-01' + to_microseconds(range * 63_000_017) as suppressed_at,
        ['user_unknown', 'domain_gone', 'mailbox_inactive'][range % 3 + 1] as reason,
        '550 5.1.1 <EMAIL>: Recipient address rejected: User unknown, in table ' || range % 400 as bounce_text,
        'kumomta' as source_name,
        'newsletter-' || range % 30 as campaign_id,
        'bouncehouse' as acted_by,
        'hard bounce, 550 5.1.1' as why,
        'c0ffee0123456789' as rule_set_version,
        'smtp_5xx' as suppression_policy
    from range($rows)
"""


def write(table: pa.Table, is_excel_safe: bool | None) -> bytes:
    target = io.BytesIO()
    write_csv(table, target, **csv_profile(is_excel_safe))
    return target.getvalue()


def write_by_python(table: pa.Table) -> bytes:
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=65_536):
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return target.getvalue().encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=475_000)
    parser.add_argument("--runs", type=int, default=3)
    figures.add_option(parser)
    chosen = parser.parse_args()
    table = duckdb.connect().execute(LIST, {"rows": chosen.rows}).to_arrow_table()
    ways: dict[str, Callable[[pa.Table], bytes]] = {
        "csv.writer": write_by_python,
        "exact": lambda table: write(table, False),
        "as exported": lambda table: write(table, None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    written = {}
    for _ in range(chosen.runs):
        for name, way in ways.items():
            started = time.perf_counter()
            written[name] = way(table)
            seconds[name].append(time.perf_counter() - started)
    if written["exact"] != written["csv.writer"]:
        raise SystemExit("our CSV is not what csv.writer writes")
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}; {chosen.rows:,} rows")
    peer = statistics.median(seconds["csv.writer"])
    found = {}
    for name, each in seconds.items():
        took = statistics.median(each)
        found[name] = {"rows": chosen.rows, "seconds": took, "ratio": took / peer, "bytes": len(written[name])}
        print(f"{name:<12}{took:8.2f} s {took / peer:6.2f} times csv.writer {len(written[name]) / 1e6:8.1f} MB")
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
