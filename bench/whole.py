"""The whole run against its peers, and how its cost grows: python bench/whole.py [--events 300000 1000000] [--runs 3]

For each size, KumoMTA's log is generated (fixed seed; of seven days up to ten million events, of so many days of
274,000 events beyond, by bench/logs.py), and in turn, several times: landed, built, published and exported on an
empty home; copied by DuckDB alone to Parquet (the floor); and landed and counted by what an analyst would write in
Polars, ClickHouse (chdb) and pandas, where these are installed (`pip install -r bench/peers.txt`) and there are not
more than ten million events. Each runs in a process of its own, so that its peak memory is known.

With `--history 7 30`: homes of so many days with `--daily` events a day, of bench/logs.py; then, in turn on each,
one more day, then a late file of a part of a day in the first week, one of a whole such day, and a run with nothing
new; and the slowest of the reports over all days. Each step is a process of its own. `--profile` adds what each node
of the builds took. `--check` holds each home against one that is built at once from the same files. Medians, and
ratios to the first of the homes, which all lie on the disk until the end; `--json FILE` for machines, `bench/plot.py`
to draw it.

`--logs FOLDER` keeps the logs for another time. `--home FOLDER …`, one for each number of days, keeps the homes: run
again, they are not built from nothing but go on with the next days and further late files. Without `--logs`, logs are
deleted once they are landed. `--full` is the set of docs/performance.md without its hundred million events, some hours;
without arguments it takes minutes.
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
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import figures
import logs
import zstandard
from steps import STEPS, time_steps

from flows import landing
from flows.build import build
from flows.dbt_process import end_dbt
from flows.generate import generate
from flows.landing.inbox import SETTLED_SECONDS
from flows.landing.source import COMMON_COLUMNS
from flows.publish import publish
from flows.report import Selection, find_campaigns, report
from flows.run_result import run_without_news
from flows.settings import Settings

FIRST_DAY = date(2026, 3, 2)
LARGEST_OF_A_WEEK = 10_000_000
"""Events beyond which a size is of many days."""
MEMORY_LIMIT = "6500MB"
"""What the engine may take; the process comes to some 1.3 GiB more."""
SAMPLES = 4
"""Files of which the size as gzip is found."""
SLOWEST = 25
"""Nodes of a build that a profile shows."""
EVENTS_PER_MESSAGE = 2.4
"""Of the generator's KumoMTA log, about."""
FIELDS = [name for name in landing.LANDING_COLUMNS["kumomta"] if name not in COMMON_COLUMNS and name != "record"]


def make_logs(folder: str, events: str) -> dict[str, Any]:
    """A week of KumoMTA's segments, taken out of their compression: not every peer can read many frames."""
    with tempfile.TemporaryDirectory() as scratch:
        messages = max(1, round(int(events) / EVENTS_PER_MESSAGE))
        generate(Path(scratch), messages=messages, days=7, first_day=FIRST_DAY, seed=1, sources=["kumomta"])
        for path in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            target = Path(folder) / "kumomta" / f"{path.relative_to(scratch).as_posix().replace('/', '-')}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as file, target.open("wb") as out:
                shutil.copyfileobj(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True), out)
    return {}


def pack_logs(*paths: str) -> dict[str, Any]:
    """Bytes of some files as gzip."""
    packed = 0
    for path in map(Path, paths):
        with path.open("rb") as file:
            content = zstandard.ZstdDecompressor().stream_reader(file).read() if path.suffix == ".zst" else file.read()
        packed += len(gzip.compress(content, compresslevel=6))
    return {"packed": packed}


ON_LOGS: dict[str, Callable[..., dict[str, Any]]] = {"generate": make_logs, "pack": pack_logs}
"""What is done to logs, apart too: it takes memory, which the processes started later would be said to take."""


def run_whole(inbox: Path, scratch: Path) -> dict[str, Any]:
    return {"steps": time_steps(Settings(home=scratch / "home", inbox_directory=inbox, memory_limit=MEMORY_LIMIT))}


def run_floor(inbox: Path, scratch: Path) -> dict[str, Any]:
    columns = ", ".join(f"\"{name}\": 'VARCHAR'" for name in FIELDS)
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        row = connection.execute(
            f"copy (select * from read_json('{inbox}/kumomta/*', format = 'newline_delimited',"
            f" columns = {{{columns}}})) to '{scratch / 'floor.parquet'}' (format parquet, compression zstd)"
        ).fetchone()
    assert row is not None
    return {"records": row[0]}


def run_polars(inbox: Path, scratch: Path) -> dict[str, Any]:
    import polars

    logs = polars.scan_ndjson(f"{inbox}/kumomta/*.jsonl", schema=dict.fromkeys(FIELDS, polars.String))
    logs.sink_parquet(scratch / "polars.parquet")
    polars.scan_parquet(scratch / "polars.parquet").group_by("type", "queue").len().collect()
    return {}


def run_pandas(inbox: Path, scratch: Path) -> dict[str, Any]:
    import pandas

    parts = [pandas.read_json(path, lines=True, dtype=False) for path in sorted((inbox / "kumomta").iterdir())]
    events = pandas.concat(parts)
    events.astype(str).to_parquet(scratch / "pandas.parquet")
    events.groupby(["type", "queue"]).size()
    return {}


def run_chdb(inbox: Path, scratch: Path) -> dict[str, Any]:
    import chdb

    structure = ", ".join(f"`{name}` Nullable(String)" for name in FIELDS)
    logs = f"file('{inbox}/kumomta/*.jsonl', JSONEachRow, '{structure}')"
    settings = "settings input_format_json_read_objects_as_strings = 1, input_format_json_read_numbers_as_strings = 1"
    chdb.query(f"insert into function file('{scratch}/chdb.parquet', Parquet) select * from {logs} {settings}")
    chdb.query(f"select type, queue, count() from file('{scratch}/chdb.parquet', Parquet) group by all format Null")
    return {}


RUNNERS = {"whole": run_whole, "floor": run_floor, "polars": run_polars, "chdb": run_chdb, "pandas": run_pandas}


LARGEST = {"pandas": 1_500_000, "polars": LARGEST_OF_A_WEEK, "chdb": LARGEST_OF_A_WEEK}
"""Events beyond which a peer wants more memory or time than there is."""


def apart(*arguments: object) -> dict[str, Any]:
    """Run what `run_only` knows in a process of its own; with its peak memory in MiB, its children's among it."""
    command = [sys.executable, __file__, "--only", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_only(name: str, *arguments: str) -> None:
    """Print what `apart` gives. It starts small processes only from a small one: a child counts its parent's memory."""
    paths = [Path(argument) for argument in arguments]
    started = time.perf_counter()
    if name in RUNNERS:
        found = RUNNERS[name](*paths)
    elif name in ON_LOGS:
        found = ON_LOGS[name](*arguments)
    else:
        settings = Settings(home=paths[0] / "home", inbox_directory=paths[0] / "inbox", memory_limit=MEMORY_LIMIT)
        found = {}
        if name in STEPS:
            STEPS[name](settings)
        else:
            found = ON_HOME[name](settings) or {}
    seconds = time.perf_counter() - started
    end_dbt()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "peak_mib": max(usage.ru_maxrss for usage in usages) / 1024, **found}))


def measure(name: str, inbox: Path, scratch: Path) -> dict[str, Any]:
    """Run a peer: seconds by the clock, its peak memory, bytes it left, seconds by step."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        found = apart(name, inbox, folder)
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return {"steps": {}, **found, "bytes": written}
    finally:
        shutil.rmtree(folder)


def write_logs(kept: Path, daily: int, *what: str) -> list[Path]:
    """Files of bench/logs.py, written by a process of its own."""
    command = [sys.executable, logs.__file__, str(kept), "--daily", str(daily), "--list", *what]
    return [Path(line) for line in subprocess.check_output(command, text=True).splitlines()]


def link(paths: list[Path], inbox: Path) -> None:
    """Put files into an inbox without taking room for them, where that can be."""
    folder = inbox / "kumomta"
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        target = folder / path.name
        if target.exists():  # of a run that was not finished
            continue
        try:
            os.link(path, target)
        except OSError:
            shutil.copy(path, target)


def estimate_gzip(paths: list[Path], samples: int = SAMPLES) -> int:
    """Bytes of logs as gzip, by some of them: it takes longer than everything else here."""
    sample = sorted(paths)[:: max(1, len(paths) // samples)]
    share = sum(path.stat().st_size for path in sample) / sum(path.stat().st_size for path in paths)
    return round(apart("pack", *sample)["packed"] / share)


def compare(events: int, runs: int, scratch: Path, kept: Path) -> dict[str, Any]:
    """One size: every peer in turn, several times; medians and the ratios to the floor."""
    inbox = kept / f"logs-{events}"
    if events > LARGEST_OF_A_WEEK:
        inbox = scratch / f"inbox-{events}"
        link(write_logs(kept, logs.DAILY, "--days", str(round(events / logs.DAILY))), inbox)
    elif not inbox.exists():
        apart("generate", kept / "unfinished", events)
        (kept / "unfinished").rename(inbox)
    files = list((inbox / "kumomta").iterdir())
    packed = estimate_gzip(files, len(files) if events <= 1_000_000 else round(len(files) * 1e6 / events))
    peers = [
        name
        for name in RUNNERS
        if name in ("whole", "floor") or (find_spec(name) and events <= LARGEST.get(name, events))
    ]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in peers}
    for _ in range(runs):
        for name in peers:
            results[name].append(measure(name, inbox, scratch))
    if kept == scratch or inbox.parent == scratch:
        shutil.rmtree(inbox)
    records = results["floor"][0]["records"]
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


def time_reports(settings: Settings) -> dict[str, float]:
    """Seconds of the slowest of four reports over all days: both groupings, all campaigns and one; medians of three."""
    database = settings.published_database
    days = duckdb.connect(database, read_only=True).execute(
        "select min(event_date), max(event_date) from marts.rpt_bounces_daily"
    )
    first, last = days.fetchone() or (None, None)
    medians = []
    for grouping in ("from_domain", "sending_ip"):
        for campaign in (None, find_campaigns(database)[0]):
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                report(database, Selection(first, last, campaign, grouping))
                seconds.append(time.perf_counter() - started)
            medians.append(statistics.median(seconds))
    return {"seconds": max(medians)}


def check_against_rebuilt(settings: Settings) -> dict[str, int]:
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
    before.unlink()
    return {"marts": len(columns)}


def run_nothing(settings: Settings) -> None:
    if run_without_news(settings) is None:
        raise SystemExit("a run with nothing new found something to do")


def count_landed(settings: Settings) -> dict[str, int]:
    """Records that are landed, and files with records that are not."""
    with duckdb.connect() as connection:
        row = connection.execute(
            f"select sum(num_rows)::bigint from parquet_file_metadata('{settings.landing}/kumomta/**/*.parquet')"
        ).fetchone()
    assert row is not None
    return {"records": row[0], "rejects": sum(path.is_file() for path in settings.rejects.rglob("*"))}


ON_HOME: dict[str, Callable[[Settings], dict[str, Any] | None]] = {
    "nothing": run_nothing,
    "report": time_reports,
    "check": check_against_rebuilt,
    "count": count_landed,
}
"""What can be asked of a home, each in a process of its own."""


def read_profile(settings: Settings) -> list[dict[str, Any]]:
    """Seconds of the slowest nodes of the last build, the largest first."""
    results = json.loads((settings.dbt_target / "results.json").read_text())["results"]
    nodes = [{key: result[key] for key in ("name", "kind", "seconds")} for result in results]
    return sorted(nodes, key=lambda node: -node["seconds"])[:SLOWEST]


def sizes_of(settings: Settings) -> dict[str, int]:
    """Bytes of what a home holds."""
    landed = sum(path.stat().st_size for path in settings.landing.rglob("*.parquet"))
    return {
        "landing_bytes": landed,
        "private_bytes": sum(path.stat().st_size for path in (settings.work_database, settings.marts_database)),
        "published_bytes": settings.published_database.stat().st_size,
        "export_bytes": sum(path.stat().st_size for path in settings.exports.rglob("*") if path.is_file()),
    }


def show_run(days: int, name: str, run: dict[str, Any]) -> None:
    seconds, peaks = run["seconds"], run["peak_mib"]
    steps = ", ".join(f"{step} {took:.1f} s {peaks[step]:,.0f} MiB" for step, took in seconds.items())
    print(
        f"{days:4} days, {name:11}{sum(seconds.values()):8.1f} s {max(peaks.values()):7,.0f} MiB  {steps}", flush=True
    )


class Grown:
    """A home that grows: `folder` has it, its inbox, and in `bench.json` how far it is and what was found of it."""

    def __init__(self, folder: Path, kept: Path, *, days: int, daily: int, is_profiled: bool, is_spared: bool) -> None:
        self.folder, self.kept, self.daily, self.is_profiled = folder, kept, daily, is_profiled
        self.is_spared = is_spared
        """Whether logs are deleted once they are landed."""
        self.settings = Settings(home=folder / "home", inbox_directory=folder / "inbox", memory_limit=MEMORY_LIMIT)
        self.note = folder / "bench.json"
        if self.note.exists():
            self.state = json.loads(self.note.read_text())
            if (self.state["days"], self.state["daily"]) != (days, daily):
                raise SystemExit(f"{folder} has a home of {self.state['days']} days of {self.state['daily']} events")
            return
        if self.settings.root.exists():
            raise SystemExit(f"the first build of {folder} was not finished: remove it, and begin anew")
        self.state = {"days": days, "daily": daily, "next_day": days, "next_late": 0}
        paths = self.write("--days", str(days))
        found: dict[str, Any] = {
            "log_files": len(paths),
            "log_bytes": sum(path.stat().st_size for path in paths),
            "gzip_bytes": estimate_gzip(paths),
        }
        found["first"] = self.take_in("first", paths)
        found |= apart("count", folder) | sizes_of(self.settings)
        if found["rejects"]:
            raise SystemExit(f"records of {found['rejects']} files were rejected: see {self.settings.rejects}")
        self.state["found"] = found
        self.save()

    def save(self) -> None:
        self.note.write_text(json.dumps(self.state, indent=1) + "\n")

    def write(self, *what: str) -> list[Path]:
        return write_logs(self.kept, self.daily, *what)

    def take_in(self, name: str, paths: list[Path]) -> dict[str, Any]:
        """Land new files, build, publish and export: seconds and peak memory of each step."""
        link(paths, self.settings.inbox)
        # logs lie for a while before they are fetched: of one written just now a run looks whether it has changed
        time.sleep(SETTLED_SECONDS + 1)
        steps = {}
        for step in STEPS:
            steps[step] = apart(step, self.folder)
            if step == "land" and self.is_spared:
                shutil.rmtree(self.settings.inbox / "kumomta")
                for folder in {path.parent for path in paths}:
                    shutil.rmtree(folder)
        run: dict[str, Any] = {
            key: {step: each[key] for step, each in steps.items()} for key in ("seconds", "peak_mib")
        }
        if self.is_profiled:
            run["nodes"] = read_profile(self.settings)
        show_run(self.state["next_day"], name, run)
        return run

    def add_day(self) -> dict[str, Any]:
        day = self.state["next_day"]
        run = self.take_in("one more day", self.write("--from-day", str(day), "--days", str(day + 1)))
        self.state["next_day"] += 1
        self.save()
        return run

    def add_late(self, size: str) -> dict[str, Any]:
        run = self.take_in(
            f"late, {size}", self.write("--days", "0", "--late-file", str(self.state["next_late"]), size)
        )
        self.state["next_late"] += 1
        self.save()
        return run


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several runs the medians of the seconds, the largest peaks, and the nodes of the last one."""
    seconds = {step: statistics.median(run["seconds"][step] for run in runs) for step in runs[0]["seconds"]}
    peaks = {step: max(run["peak_mib"][step] for run in runs) for step in seconds}
    totals = [sum(run["seconds"].values()) for run in runs]
    return {**runs[-1], "seconds": seconds, "peak_mib": peaks, "totals": totals}


TAKEN_IN: dict[str, Callable[[Grown], dict[str, Any]]] = {
    "day": Grown.add_day,
    "late": lambda home: home.add_late("small"),
    "late_whole": lambda home: home.add_late("whole"),
}
"""What the homes take in, several times each."""


def grow(homes: list[Grown], runs: int, *, is_checked: bool) -> list[dict[str, Any]]:
    """In turn for each home, several times: one more day, late files; then nothing new. With ratios to the first."""
    from_days = [home.state["next_day"] for home in homes]
    taken: dict[str, list[list[dict[str, Any]]]] = {}
    for what, take_in in TAKEN_IN.items():
        taken[what] = [[] for _ in homes]
        for _ in range(runs):
            for home, its_runs in zip(homes, taken[what], strict=True):
                its_runs.append(take_in(home))
    results = []
    for number, home in enumerate(homes):
        found = {"days": home.state["days"], "daily": home.daily, "from_day": from_days[number], **home.state["found"]}
        found |= {what: middle(taken[what][number]) for what in TAKEN_IN}
        if number:
            found["ratios"] = {what: ratio_of(found[what], results[0][what]) for what in TAKEN_IN}
        results.append(found | look_at(home, runs))
        show_home(results[-1])
    for home in homes if is_checked else []:
        marts = apart("check", home.folder)["marts"]
        print(f"{home.state['days']:4} days, {marts} marts are what they are when all is built at once", flush=True)
    return results


def ratio_of(run: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """How many times as long something took as on another home: the whole of it, and its build; by the medians."""
    return {
        "whole": statistics.median(run["totals"]) / statistics.median(other["totals"]),
        "build": run["seconds"]["build"] / other["seconds"]["build"],
    }


def look_at(home: Grown, runs: int) -> dict[str, Any]:
    """What a run with nothing new takes, the slowest report over all days, and what the home holds by now."""
    nothing = [apart("nothing", home.folder) for _ in range(runs)]
    return {
        "nothing": {
            "seconds": {"all": statistics.median(run["seconds"] for run in nothing)},
            "peak_mib": {"all": max(run["peak_mib"] for run in nothing)},
        },
        "report": apart("report", home.folder)["seconds"],
        "after": sizes_of(home.settings) | apart("count", home.folder),
    }


def show_home(found: dict[str, Any]) -> None:
    """Print what was found of a home: medians, ratios to the first home, sizes, and its slowest nodes."""
    days = found["days"]
    print()
    for what in ("first", *TAKEN_IN, "nothing"):
        show_run(days, {"late_whole": "late day"}.get(what, what), found[what])
        if what in found.get("ratios", ()):
            ratios = found["ratios"][what]
            print(f"{'':16} {ratios['whole']:.2f} times the first home's, the build {ratios['build']:.2f} times")
    sizes = [f"{key.removesuffix('_bytes')} {size / 1e6:,.0f} MB" for key, size in found.items() if "_bytes" in key]
    print(
        f"{days:4} days, {found['records']:,} records at first; {', '.join(sizes)}; a report {found['report']:.2f} s",
        flush=True,
    )
    for what in ("first", "day"):
        for node in found[what].get("nodes", []):
            print(f"{days:4} days, {what:6}{node['seconds']:10.2f} s  {node['kind']:6} {node['name']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="*", default=[100_000, 300_000])
    parser.add_argument("--history", type=int, nargs="*", default=[7])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--daily", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    figures.add_option(parser)
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--home", type=Path, nargs="+")
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.only:
        run_only(*chosen.only)
        return
    if chosen.full:
        chosen.events, chosen.history, chosen.daily = [1_000_000, 3_000_000, 10_000_000], [7, 30, 90], logs.DAILY
    if chosen.home and len(chosen.history) != len(chosen.home):
        parser.error("--home wants a folder for each number of days")
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as scratch:
        kept = chosen.logs or Path(scratch)
        found: dict[str, list[dict[str, Any]]] = {"sizes": [], "history": []}
        for events in chosen.events:
            found["sizes"].append(compare(events, chosen.runs, Path(scratch), kept))
        homes = [
            Grown(
                folder,
                kept,
                days=days,
                daily=chosen.daily,
                is_profiled=chosen.profile,
                is_spared=not chosen.logs,
            )
            for days, folder in zip(
                chosen.history,
                chosen.home or [Path(scratch) / f"history-{days}" for days in chosen.history],
                strict=True,
            )
        ]
        found["history"] = grow(homes, chosen.runs, is_checked=chosen.check)
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
