"""The steps of a daily run, one by one and without Prefect: for the other scripts of this folder."""

import time
from collections.abc import Callable

from flows import landing
from flows.build import build
from flows.dbt_process import end_dbt
from flows.exports.exporting import export_all
from flows.publish import publish
from flows.settings import Settings


def land(settings: Settings) -> None:
    arrivals = landing.find_arrivals(settings)
    landing.remember(settings, zip(arrivals.files, landing.land_files(settings, arrivals.files), strict=True))


STEPS: dict[str, Callable[[Settings], object]] = {
    "land": land,
    "build": build,
    "publish": publish,
    "export": export_all,
}


def time_steps(settings: Settings) -> dict[str, float]:
    """Seconds by the clock of each step; that of the build with dbt's import, which a run begins earlier."""
    seconds = {}
    for name, step in STEPS.items():
        started = time.perf_counter()
        step(settings)
        seconds[name] = time.perf_counter() - started
    end_dbt()
    return seconds
