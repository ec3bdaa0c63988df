"""One more day on a short history and on a long one, of any source's logs: python bench/days.py [--source postfix]

    [--messages 16000] [--history 7 90] [--runs 3] [--folder FOLDER]

What bench/whole.py shows of KumoMTA's logs at a large sender's pace, of the others', which only the generator makes:
so many messages a day, for the longest history and a day for each run. Of each history a home is built at once, of its
last days; then, in turn, each gets the next day: landed, built, published and exported, without Prefect. Medians by
the clock, ratios to the first home, and the nodes of the build that take most longer than on the first.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import figures
from steps import time_steps

from flows.generate import WRITERS, generate
from flows.settings import Settings

FIRST_DAY = date(2026, 1, 5)
MEMORY_LIMIT = "6500MB"
DATED = re.compile(r"20\d\d-?\d\d-?\d\d")
SHOWN = 8
"""Nodes that take longer."""


def make_logs(folder: Path, source: str, messages: int, days: int) -> list[list[Path]]:
    """Files of so many days and of the few after them, by the day in their names; one without belongs to the last."""
    files = generate(folder, messages=messages * days, days=days, first_day=FIRST_DAY, seed=1, sources=[source])
    by_day: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        found = DATED.search(path.name)
        by_day[found.group().replace("-", "") if found else "99999999"].append(path)
    return [by_day[day] for day in sorted(by_day)]


def take_in(settings: Settings, logs: Path, files: list[Path]) -> dict[str, Any]:
    """Put files into the inbox and run the steps: seconds of each, and of each node of the build."""
    for path in files:
        target = settings.inbox / path.relative_to(logs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    seconds = time_steps(settings)
    results = json.loads((settings.dbt_target / "results.json").read_text())["results"]
    return {"seconds": seconds, "nodes": {result["name"]: result["seconds"] for result in results}}


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of all seconds; of nodes that ran each time."""
    names = set.intersection(*({*run["nodes"]} for run in runs))
    return {
        "seconds": {step: statistics.median(run["seconds"][step] for run in runs) for step in runs[0]["seconds"]},
        "nodes": {name: statistics.median(run["nodes"][name] for run in runs) for name in names},
        "total": statistics.median(sum(run["seconds"].values()) for run in runs),
    }


def show(days: int, what: str, seconds: dict[str, float], ratio: float | None = None) -> None:
    steps = ", ".join(f"{step} {took:.1f}" for step, took in seconds.items())
    times = f"{ratio:6.2f} times" if ratio else " " * 12
    print(f"{days:5} days, {what:14}{sum(seconds.values()):8.1f} s{times}  {steps}", flush=True)


def show_nodes(nodes: dict[str, float], others: dict[str, float]) -> None:
    for name in sorted(nodes, key=lambda name: others.get(name, 0) - nodes[name])[:SHOWN]:
        print(f"{'':12}{nodes[name]:6.2f} s for {others.get(name, 0):5.2f}  {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=[source for source in WRITERS if source != "dsn"], default="postfix")
    parser.add_argument("--messages", type=int, default=16_000)
    parser.add_argument("--history", type=int, nargs="+", default=[7, 90])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to make logs and homes; default: a temporary folder")
    figures.add_option(parser)
    chosen = parser.parse_args()
    longest = max(chosen.history)
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}; {chosen.source}, {chosen.messages:,} messages a day")
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-", dir=chosen.folder) as scratch:
        logs = Path(scratch) / "logs"
        days = make_logs(logs, chosen.source, chosen.messages, longest + chosen.runs)
        homes = [Settings(home=Path(scratch) / str(length), memory_limit=MEMORY_LIMIT) for length in chosen.history]
        found: list[dict[str, Any]] = []
        for length, settings in zip(chosen.history, homes, strict=True):
            first = take_in(settings, logs, [path for day in days[longest - length : longest] for path in day])
            show(length, "all at once", first["seconds"])
            found.append({"days": length, "first": first})
        runs: list[list[dict[str, Any]]] = [[] for _ in homes]
        for number in range(chosen.runs):
            for settings, its_runs in zip(homes, runs, strict=True):
                its_runs.append(take_in(settings, logs, days[longest + number]))
        for each, its_runs in zip(found, runs, strict=True):
            each["day"] = middle(its_runs)
            each["ratio"] = each["day"]["total"] / found[0]["day"]["total"]
            show(each["days"], "one more day", each["day"]["seconds"], each["ratio"])
            if each is not found[0]:
                show_nodes(each["day"]["nodes"], found[0]["day"]["nodes"])
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
