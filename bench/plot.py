"""Draw what bench/whole.py measured: python bench/plot.py RESULTS.json … docs/growth.svg (matplotlib: bench/peers.txt).

On the left, whole runs by the number of records, with the peers; on the right, one more day and late files by the days
of history: above the seconds of the steps, below the peak memory. Of several files the results are drawn together.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

matplotlib.rcParams["svg.hashsalt"] = "bouncehouse"  # ids of its parts are random otherwise

STEPS = ("land", "build", "publish", "export")
LATE = {"late": "a late file", "late_whole": "a late day"}


def draw_sizes(seconds: Any, memory: Any, sizes: list[dict[str, Any]]) -> None:
    records = [size["records"] / 1e6 for size in sizes]
    whole = [size["peers"]["whole"] for size in sizes]
    seconds.stackplot(records, *([each["steps"][step] for each in whole] for step in STEPS), labels=STEPS, alpha=0.8)
    memory.plot(records, [each["peak_mib"] / 1024 for each in whole], marker="o", color="black", label="whole run")
    for peer in sorted({name for size in sizes for name in size["peers"]} - {"whole"}):
        points = [(n, size["peers"][peer]) for n, size in zip(records, sizes, strict=True) if peer in size["peers"]]
        for axes, values in (
            (seconds, [each["seconds"] for _, each in points]),
            (memory, [each["peak_mib"] / 1024 for _, each in points]),
        ):
            axes.plot([n for n, _ in points], values, marker="o", linestyle="--", label=peer)
    seconds.set(ylabel="seconds", title="A whole run")
    memory.set(xlabel="millions of records, on an empty home", ylabel="GiB of memory at most")


def draw_history(seconds: Any, memory: Any, history: list[dict[str, Any]]) -> None:
    days = [each["days"] for each in history]
    seconds.stackplot(
        days, *([each["day"]["seconds"][step] for each in history] for step in STEPS), labels=STEPS, alpha=0.8
    )
    for name, label in {"first": "all at once", "day": "one more day", **LATE}.items():
        measured = [each for each in history if name in each]
        points = [each["days"] for each in measured]
        if name in LATE:
            seconds.plot(points, [sum(each[name]["seconds"].values()) for each in measured], marker="o", label=label)
        memory.plot(points, [max(each[name]["peak_mib"].values()) / 1024 for each in measured], marker="o", label=label)
    seconds.set(title="One more day")
    memory.set(xlabel="days that the home has")


def main() -> None:
    *sources, target = map(Path, sys.argv[1:])
    found = [json.loads(source.read_text())["found"] for source in sources]
    sizes = sorted((size for each in found for size in each["sizes"]), key=lambda size: size["records"])
    history = sorted((home for each in found for home in each["history"]), key=lambda home: home["days"])
    figure, ((seconds, day_seconds), (memory, day_memory)) = pyplot.subplots(2, 2, figsize=(11, 8))
    if sizes:
        draw_sizes(seconds, memory, sizes)
    if history:
        draw_history(day_seconds, day_memory, history)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
        if axes.has_data():
            axes.legend()
    # the same figures give the same file
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
