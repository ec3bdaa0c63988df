"""Draw what bench/whole.py measured: python bench/plot.py RESULTS.json docs/growth.svg (matplotlib: bench/peers.txt).

On the left, seconds of the steps of a whole run by the number of records, with the peers; on the right, those of one
more day, and of a late file, by the days of history.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

STEPS = ("land", "build", "publish", "export")


def draw_sizes(axes: Any, sizes: list[dict[str, Any]]) -> None:
    records = [size["records"] / 1e6 for size in sizes]
    whole = [size["peers"]["whole"] for size in sizes]
    axes.stackplot(records, *([each["steps"][step] for each in whole] for step in STEPS), labels=STEPS, alpha=0.8)
    for peer in sorted({name for size in sizes for name in size["peers"]} - {"whole"}):
        points = [
            (n, size["peers"][peer]["seconds"]) for n, size in zip(records, sizes, strict=True) if peer in size["peers"]
        ]
        axes.plot(*zip(*points, strict=True), marker="o", linestyle="--", label=peer)
    axes.set(xlabel="millions of records, on an empty home", ylabel="seconds", title="A whole run")


def draw_history(axes: Any, history: list[dict[str, Any]]) -> None:
    days = [each["days"] for each in history]
    axes.stackplot(days, *([each["day"][step] for each in history] for step in STEPS), labels=STEPS, alpha=0.8)
    axes.plot(days, [sum(each["late"].values()) for each in history], marker="o", color="black", label="a late file")
    axes.set(xlabel="days that the home has", title="One more day")


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    found = json.loads(source.read_text())
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    draw_sizes(left, found["sizes"])
    draw_history(right, found["history"])
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left")
    # the same figures give the same file
    figure.savefig(target, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
