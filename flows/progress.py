"""How far a run is: bars with rates and what is left for whoever watches it in a terminal, else a plain line at times.

What works says how much it has to do (`follow`) and has done (`advance`), and does not know whether anybody is told.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_SECONDS = 30
"""Between two plain lines: a run that is shorter prints none."""


class Shown(Protocol):
    """Somebody who is told of one piece of work after the other."""

    def begin(self, name: str, unit: str, total: int | None) -> None:
        """A piece of work begins; `unit` is what is counted, `bytes` are shown as such."""

    def update(self, done: int, total: int | None) -> None:
        """So much of it is done."""

    def end(self) -> None:
        """It is over."""


class _Followed:
    """What is told to whom. One run at a time in a process."""

    shown: Shown | None = None
    done = 0
    total: int | None = None


_followed = _Followed()


@contextmanager
def show_progress() -> Iterator[None]:
    """Tell of progress while the block runs: bars on standard error where that is a terminal, else plain lines."""
    _followed.shown = Bars() if sys.stderr.isatty() else Lines()
    try:
        yield
    finally:
        _followed.shown = None


@contextmanager
def follow(name: str, unit: str, total: int | None = None) -> Iterator[None]:
    """Begin a piece of work; `total` may become known later."""
    shown = _followed.shown
    _followed.done, _followed.total = 0, total
    if shown is None or total == 0:
        yield
        return
    shown.begin(name, unit, total)
    try:
        yield
    finally:
        shown.end()


def advance(amount: int = 1) -> None:
    """So much more is done."""
    set_done(_followed.done + amount, _followed.total)


def set_done(done: int, total: int | None) -> None:
    """So much is done, of so much."""
    _followed.done, _followed.total = done, total
    if _followed.shown:
        _followed.shown.update(done, total)


class Bars:
    """A bar that goes when its work is over."""

    def begin(self, name: str, unit: str, total: int | None) -> None:
        """Draw it."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        from flows.tables import make_console

        if unit == "bytes":
            counted = [DownloadColumn(), TransferSpeedColumn()]
        else:
            counted = [MofNCompleteColumn(), TextColumn(f"{unit},"), TextColumn("{task.fields[rate]}")]
        self.progress = Progress(
            TextColumn(name), BarColumn(), *counted, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=make_console(to_stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.progress.add_task(name, total=total, rate="")
        self.progress.start()

    def update(self, done: int, total: int | None) -> None:
        """Move it."""
        speed = self.progress.tasks[0].speed
        self.progress.update(self.task, completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

    def end(self) -> None:
        """Take it away."""
        self.progress.stop()


class Lines:
    """A line on standard output every half minute, as logs keep it."""

    def begin(self, name: str, unit: str, total: int | None) -> None:
        """Note when."""
        self.name, self.unit = name, unit
        self.started = self.told = time.monotonic()

    def update(self, done: int, total: int | None) -> None:
        """Print a line if it is time."""
        now = time.monotonic()
        if now - self.told >= LINE_SECONDS:
            self.told = now
            print(describe(self.name, self.unit, done, total, now - self.started), flush=True)

    def end(self) -> None:
        """The run itself says what has become of it."""


def describe(name: str, unit: str, done: int, total: int | None, seconds: float) -> str:
    """A line: how much of what, how fast, and how long the rest takes at that rate."""
    rate = done / seconds if seconds > 0 else 0.0
    of = f" of {total:,}" if total else ""
    left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
    return f"{name:<9} {done:,}{of} {unit}, {rate:,.1f}/s{left}"
