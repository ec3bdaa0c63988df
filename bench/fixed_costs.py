"""What a command costs whatever it takes in: python bench/fixed_costs.py [--runs 5]

A home of seven days with 280 messages of each source; then, several times each, by the clock and in processor time of
all processes: `bouncehouse --help`, a run that finds nothing new, `suppression why`, and a run over one more day of the
same size. The steps of such a run (land, build, publish, export) are timed in this process, without Prefect.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import figures
from steps import time_steps

from flows.generate import generate
from flows.settings import SOURCES, Settings

FIRST_DAY = date(2026, 3, 2)
MESSAGES = 280
COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]


def time_command(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time, its children's among them."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def add_day(inbox: Path, number: int) -> None:
    """A further day of logs, beside those that are there."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), messages=MESSAGES // 7, days=1, first_day=FIRST_DAY + timedelta(number), seed=number)
        for source_name in SOURCES:
            if (Path(folder) / source_name).is_dir():
                shutil.copytree(Path(folder) / source_name, inbox / source_name / f"day{number}")


def show(name: str, seconds: list[tuple[float, float]]) -> dict[str, float]:
    wall, processor = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"{name:<28}{wall:>8.2f} s{processor:>8.2f} s of processor time", flush=True)
    return {"seconds": wall, "processor_seconds": processor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    figures.add_option(parser)
    chosen = parser.parse_args()
    runs = chosen.runs
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as folder:
        settings = Settings(home=Path(folder) / "home", inbox_directory=Path(folder) / "inbox")
        generate(settings.inbox, messages=MESSAGES, days=7, first_day=FIRST_DAY, seed=1)
        home = ["--home", str(settings.root)]
        run = ["run", *home, "--inbox", str(settings.inbox)]
        time_command(run)
        print(f"{os.cpu_count()} processors, medians of {runs}")
        found: dict[str, dict[str, float]] = {}
        for name, command in {
            "bouncehouse --help": ["--help"],
            "suppression why": ["suppression", "why", "a@b.example", *home],
            "a run with nothing new": run,
        }.items():
            found[name] = show(name, [time_command(command) for _ in range(runs)])
        days = iter(range(7, 7 + 2 * runs))
        timed = []
        for _ in range(runs):
            add_day(settings.inbox, next(days))
            timed.append(time_command(run))
        found["a run over a small day"] = show("a run over a small day", timed)
        steps = []
        for _ in range(runs):
            add_day(settings.inbox, next(days))
            steps.append(time_steps(settings))
        for name in steps[0]:
            found[f"of that, {name}"] = {"seconds": statistics.median(step[name] for step in steps)}
            print(f"  {name:<26}{found[f'of that, {name}']['seconds']:>8.2f} s")
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
