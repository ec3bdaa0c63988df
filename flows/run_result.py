"""What a run did, and the short way of one that finds nothing new: it needs no Prefect, which is most of such a run."""

import time
from dataclasses import dataclass
from pathlib import Path

from flows import retention
from flows.build import BuildResult, is_up_to_date
from flows.exports.written import find_written
from flows.landing import Load, Unreadable, find_arrivals
from flows.lock import hold_lock
from flows.publish import published_build_id
from flows.settings import Settings
from flows.work_state import find_build_id


@dataclass(frozen=True)
class RunResult:
    """A run: files landed and not readable, folders of no known source, the build, exports, and what was dropped."""

    loads: list[Load]
    unreadable: list[Unreadable]
    unknown_folders: list[str]
    build: BuildResult
    exports: list[Path]
    dropped: retention.Plan | None = None


def run_without_news(settings: Settings, *, wait: bool = False) -> RunResult | None:
    """Where nothing is new, nor begun, nor damaged: see to the exports and give the result of such a run.

    None where there is anything to do or to tell of, and where anything goes wrong: that is for the flow. One run at a
    time, as there.
    """
    started = time.perf_counter()
    if retention.is_due(settings) or not settings.published_database.exists():
        return None
    with hold_lock(settings, wait=wait):
        try:
            arrivals = find_arrivals(settings)
            if arrivals.files or arrivals.unreadable or not is_up_to_date(settings):
                return None
            if published_build_id(settings) != find_build_id(settings):
                return None
            exports = find_written(settings)
            if exports is None:
                from flows.exports.exporting import export_all  # takes longer than all else here

                exports = export_all(settings)
        except Exception:
            return None
    nothing = BuildResult(
        is_built=False, files=0, models=0, tests=0, warnings=[], seconds=time.perf_counter() - started
    )
    return RunResult([], [], arrivals.unknown_folders, nothing, exports)
