"""The steps of a daily run, timed one by one and without Prefect: for the other scripts of this folder."""

import time
from collections.abc import Callable

from flows import landing
from flows.build import build
from flows.exports.exporting import export_all
from flows.publish import publish
from flows.settings import Settings


def time_steps(settings: Settings) -> dict[str, float]:
    """Seconds by the clock of `land`, `build`, `publish` and `export`."""

    def land() -> None:
        arrivals = landing.find_arrivals(settings)
        landing.remember(settings, zip(arrivals.files, landing.land_files(settings, arrivals.files), strict=True))

    steps: dict[str, Callable[[], object]] = {
        "land": land,
        "build": lambda: build(settings),
        "publish": lambda: publish(settings),
        "export": lambda: export_all(settings),
    }
    seconds = {}
    for name, step in steps.items():
        started = time.perf_counter()
        step()
        seconds[name] = time.perf_counter() - started
    return seconds
