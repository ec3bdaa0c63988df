"""The whole run against its peers, and how its cost grows: python bench/whole.py [--events 300000 1000000] [--runs 3]

For each size, KumoMTA's log of seven days is generated (fixed seed), and in turn, several times: landed, built,
published and exported on an empty home; copied by DuckDB alone to Parquet (the floor); and landed and counted by what
an analyst would write in Polars, ClickHouse (chdb) and pandas, where these are installed (`pip install -r
bench/peers.txt`). Each runs in a process of its own, so that its peak memory is known.

With `--history 7 30`: homes of so many days with `--daily` events a day; then one more day, and then a late file that
touches one day of the first week; and the slowest of the reports over all days. `--check` holds each such home against
one that is built at once from the same files. Medians; `--json FILE` for machines, `bench/plot.py` to draw it;
`--logs FOLDER` keeps the logs of the sizes for another time.
`--full` is the set of docs/performance.md, an hour and 40 GB; without arguments it takes minutes.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import zstandard
from steps import time_steps

from flows import landing
from flows.build import build
from flows.generate import generate
from flows.landing.source import COMMON_COLUMNS
from flows.publish import publish
from flows.report import Selection, find_campaigns, report
from flows.settings import Settings

FIRST_DAY = date(2026, 3, 2)
EVENTS_PER_MESSAGE = 2.4
"""Of the generator's KumoMTA log, about."""
FIELDS = [name for name in landing.LANDING_COLUMNS["kumomta"] if name not in COMMON_COLUMNS and name != "record"]


def make_logs(folder: Path, *, events: int, days: int, first_day: date = FIRST_DAY, seed: int = 1) -> None:
    """KumoMTA's segments, taken out of their compression: not every peer can read many frames."""
    with tempfile.TemporaryDirectory() as scratch:
        messages = max(1, round(events / EVENTS_PER_MESSAGE))
        generate(Path(scratch), messages=messages, days=days, first_day=first_day, seed=seed, sources=["kumomta"])
        for path in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            target = folder / "kumomta" / f"{path.relative_to(scratch).as_posix().replace('/', '-')}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file, target.open("wb") as out:
                shutil.copyfileobj(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True), out)


def run_whole(inbox: Path, scratch: Path) -> dict[str, float]:
    return time_steps(Settings(home=scratch / "home", inbox_directory=inbox, memory_limit="8GB"))


def run_floor(inbox: Path, scratch: Path) -> dict[str, float]:
    columns = ", ".join(f"\"{name}\": 'VARCHAR'" for name in FIELDS)
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute(
            f"copy (select * from read_json('{inbox}/kumomta/*', format = 'newline_delimited',"
            f" columns = {{{columns}}})) to '{scratch / 'floor.parquet'}' (format parquet, compression zstd)"
        )
    return {}


def run_polars(inbox: Path, scratch: Path) -> dict[str, float]:
    import polars

    logs = polars.scan_ndjson(f"{inbox}/kumomta/*.jsonl", schema=dict.fromkeys(FIELDS, polars.String))
    logs.sink_parquet(scratch / "polars.parquet")
    polars.scan_parquet(scratch / "polars.parquet").group_by("type", "queue").len().collect()
    return {}


def run_pandas(inbox: Path, scratch: Path) -> dict[str, float]:
    import pandas

    parts = [pandas.read_json(path, lines=True, dtype=False) for path in sorted((inbox / "kumomta").iterdir())]
    events = pandas.concat(parts)
    events.astype(str).to_parquet(scratch / "pandas.parquet")
    events.groupby(["type", "queue"]).size()
    return {}


def run_chdb(inbox: Path, scratch: Path) -> dict[str, float]:
    import chdb

    structure = ", ".join(f"`{name}` Nullable(String)" for name in FIELDS)
    logs = f"file('{inbox}/kumomta/*.jsonl', JSONEachRow, '{structure}')"
    settings = "settings input_format_json_read_objects_as_strings = 1, input_format_json_read_numbers_as_strings = 1"
    chdb.query(f"insert into function file('{scratch}/chdb.parquet', Parquet) select * from {logs} {settings}")
    chdb.query(f"select type, queue, count() from file('{scratch}/chdb.parquet', Parquet) group by all format Null")
    return {}


RUNNERS = {"whole": run_whole, "floor": run_floor, "polars": run_polars, "chdb": run_chdb, "pandas": run_pandas}


LARGEST = {"pandas": 1_500_000}
"""Events beyond which a peer wants more memory than the machine has."""


def measure(name: str, inbox: Path, scratch: Path) -> dict[str, Any]:
    """Run in a process of its own: seconds by the clock, its peak memory in MiB, bytes it left, seconds by step."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        command = [sys.executable, __file__, "--only", name, str(inbox), str(folder)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return {**json.loads(done.stdout), "bytes": written}
    finally:
        shutil.rmtree(folder)


def run_only(name: str, inbox: Path, scratch: Path) -> None:
    started = time.perf_counter()
    steps = RUNNERS[name](inbox, scratch)
    seconds = time.perf_counter() - started
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "peak_mib": max(usage.ru_maxrss for usage in usages) / 1024, "steps": steps}))


def compare(events: int, runs: int, scratch: Path, kept: Path) -> dict[str, Any]:
    """One size: every peer in turn, several times; medians and the ratios to the floor."""
    inbox = kept / f"logs-{events}"
    if not inbox.exists():
        make_logs(kept / "unfinished", events=events, days=7)
        (kept / "unfinished").rename(inbox)
    logs = list((inbox / "kumomta").iterdir())
    records = sum(path.read_bytes().count(b"\n") for path in logs)
    # of great logs a part, as gzip takes longer than everything else here
    sample = sorted(logs)[:: max(1, round(events / 1e6))]
    share = sum(path.stat().st_size for path in sample) / sum(path.stat().st_size for path in logs)
    packed = round(sum(len(gzip.compress(path.read_bytes(), compresslevel=6)) for path in sample) / share)
    peers = [
        name
        for name in RUNNERS
        if name in ("whole", "floor") or (find_spec(name) and events <= LARGEST.get(name, events))
    ]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for _ in range(runs):
        for name in peers:
            results[name].append(measure(name, inbox, scratch))
    if kept == scratch:
        shutil.rmtree(inbox)
    floor = statistics.median(result["seconds"] for result in results["floor"])
    print(f"\n{records:,} records; their logs as gzip {packed / 1e6:,.0f} MB")
    table = {}
    for name, each in results.items():
        seconds = statistics.median(result["seconds"] for result in each)
        table[name] = {
            "seconds": seconds,
            "ratio_to_floor": seconds / floor,
            "peak_mib": max(result["peak_mib"] for result in each),
            "bytes": each[-1]["bytes"],
            "steps": {step: statistics.median(result["steps"][step] for result in each) for step in each[0]["steps"]},
        }
        steps = ", ".join(f"{step} {took:.1f}" for step, took in table[name]["steps"].items())
        print(
            f"  {name:8}{seconds:8.1f} s {seconds / floor:6.1f} times the floor"
            f" {table[name]['peak_mib']:7.0f} MiB {each[-1]['bytes'] / 1e6:7.0f} MB  {steps}",
            flush=True,
        )
    return {"records": records, "gzip_bytes": packed, "peers": table}


def time_reports(settings: Settings) -> float:
    """Seconds of the slowest of four reports over all days: both groupings, all campaigns and one."""
    database = settings.published_database
    days = duckdb.connect(database, read_only=True).execute(
        "select min(event_date), max(event_date) from marts.rpt_bounces_daily"
    )
    first, last = days.fetchone() or (None, None)
    seconds = []
    for grouping in ("from_domain", "sending_ip"):
        for campaign in (None, find_campaigns(database)[0]):
            started = time.perf_counter()
            report(database, Selection(first, last, campaign, grouping))
            seconds.append(time.perf_counter() - started)
    return max(seconds)


def check_against_rebuilt(settings: Settings) -> None:
    """Build and publish everything anew from landing: every mart must be what it was, but for when it was made."""
    before = settings.root / "before.duckdb"
    shutil.copy(settings.published_database, before)
    build(settings, full_refresh=True)
    publish(settings)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{before}' as old (read_only)")
        connection.execute(f"attach '{settings.published_database}' as new (read_only)")
        columns = connection.execute(
            """select table_name, string_agg('"' || column_name || '"', ', ') from duckdb_columns()
            where database_name = 'new' and schema_name = 'marts'
                and table_name not in ('ops_publication', 'ops_restatements')
            group by all"""
        ).fetchall()
        for mart, names in columns:
            sides = [f"select {names} from {side}.marts.{mart}" for side in ("old", "new")]
            differing = f"({sides[0]} except all {sides[1]}) union all ({sides[1]} except all {sides[0]})"
            row = connection.execute(f"select count(*) from ({differing})").fetchone()
            if row != (0,):
                raise SystemExit(f"{mart}: {row} rows differ between a home built day by day and one built at once")
    print(f"{'':10} {len(columns)} marts are what they are when all is built at once")


def grow(days: int, daily: int, runs: int, scratch: Path, *, is_checked: bool) -> dict[str, Any]:
    """A home of so many days; then one more day, several times, and a late file of a day in its first week."""
    settings = Settings(home=scratch / f"home-{days}", inbox_directory=scratch / f"inbox-{days}", memory_limit="8GB")
    make_logs(settings.inbox, events=daily * days, days=days)
    first = time_steps(settings)
    found: dict[str, Any] = {"days": days, "first": first}
    for name, when in (("day", days), ("late", 2)):
        seen = []
        for run in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                day = FIRST_DAY + timedelta(when + (run if name == "day" else 0))
                make_logs(Path(folder), events=daily, days=1, first_day=day, seed=1000 * days + when + run)
                shutil.copytree(Path(folder) / "kumomta", settings.inbox / "kumomta" / f"{name}{run}")
            seen.append(time_steps(settings))
        found[name] = {step: statistics.median(each[step] for each in seen) for step in first}
    published = settings.published_database.stat().st_size
    landed = sum(path.stat().st_size for path in (settings.root / "landing").rglob("*.parquet"))
    reports = statistics.median(time_reports(settings) for _ in range(3))
    found |= {"published_bytes": published, "landing_bytes": landed, "report": reports}
    if is_checked:
        check_against_rebuilt(settings)
    shutil.rmtree(settings.root)
    shutil.rmtree(settings.inbox)
    for name in ("first", "day", "late"):
        steps = ", ".join(f"{step} {took:.1f}" for step, took in found[name].items())
        print(f"{days:4} days, {name:6}{sum(found[name].values()):8.1f} s  {steps}", flush=True)
    print(f"{'':10} published {published / 1e6:,.0f} MB, landing {landed / 1e6:,.0f} MB, a report {reports:.2f} s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="*", default=[100_000, 300_000])
    parser.add_argument("--history", type=int, nargs="*", default=[7])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--daily", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        name, inbox, scratch = chosen.only
        run_only(name, Path(inbox), Path(scratch))
        return
    if chosen.full:
        chosen.events, chosen.history = [1_000_000, 3_000_000, 10_000_000], [7, 30, 90]
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}")
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as folder:
        found = {
            "sizes": [
                compare(events, chosen.runs, Path(folder), chosen.logs or Path(folder)) for events in chosen.events
            ],
            "history": [
                grow(days, chosen.daily, chosen.runs, Path(folder), is_checked=chosen.check) for days in chosen.history
            ],
        }
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
