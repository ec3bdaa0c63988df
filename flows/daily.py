"""The daily flow for Prefect: land, build, publish, export. Each task is one call and a log line.

The only module that imports Prefect.
"""

import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.schedules import CronSchedule
from prefect.types.entrypoint import EntrypointType
from pydantic import Field

from flows import progress, retention
from flows.build import BuildResult, build
from flows.dbt_process import warm_dbt
from flows.exports.declared import FILE_NAME, read_own
from flows.exports.exporting import export_all
from flows.landing import (
    Arrival,
    Arrivals,
    InboxMissing,
    Load,
    Outcome,
    Unreadable,
    find_arrivals,
    land_files,
    remember,
)
from flows.lock import hold_lock
from flows.problems import CANNOT_WRITE, ActionableError, NotExportedError, WrongUsageError, mask_addresses
from flows.publish import publish, published_build_id
from flows.report import Selection, choose_period, hold_readable, report
from flows.run_result import RunResult
from flows.settings import Settings
from flows.tables import escape_markdown, make_markdown_table
from flows.work_state import find_build_id

BATCH_FILES = 20_000
BATCH_BYTES = 1 << 30
"""A task lands at most so many files or bytes of one source: few tasks for Prefect, small enough to try again."""

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")

TOP_ROWS = 20
ARTIFACT_ROWS = 200


class MaskAddresses(logging.Filter):
    """Takes addresses out of what Prefect keeps: an engine's error quotes the value that it could not read."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass, its text and its traceback written out and masked."""
        record.msg, record.args = mask_addresses(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = mask_addresses("".join(traceback.format_exception(*record.exc_info)).rstrip())
            record.exc_info = None
        return True


for _name in RUN_LOGGERS:
    logging.getLogger(_name).addFilter(MaskAddresses())


@contextmanager
def step(name: str) -> Iterator[None]:
    """Name the step in what goes wrong within, and keep that as an artifact, with the sample rows of a data test."""
    try:
        yield
    except ActionableError as error:
        error.cause = f"{name}: {error.cause}"
        create_markdown_artifact(describe_failure(name, error), key="failure", description="What failed")
        raise
    except Exception as error:
        error.add_note(f"in the step {name}")
        told = ActionableError(f"{type(error).__name__}: {error}", "the log has the traceback")
        create_markdown_artifact(describe_failure(name, told), key="failure", description="What failed")
        raise


def describe_failure(name: str, error: ActionableError) -> str:
    """Markdown: the step that failed, why, what to do, and the details, addresses masked."""
    details = "\n\n".join(escape_markdown(mask_addresses(line)) for line in error.details.splitlines()[:ARTIFACT_ROWS])
    return (
        f"The step **{escape_markdown(name)}** failed.\n\n{escape_markdown(mask_addresses(error.cause))}\n\n"
        f"{escape_markdown(error.remedy)}\n\n{details}"
    ).rstrip()


def _is_io_error(_task: Any, _task_run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    # a full or read-only disk is none that goes away within seconds
    return isinstance(error, OSError) and error.errno not in CANNOT_WRITE


@task(retries=3, retry_delay_seconds=[1, 5, 15], retry_condition_fn=_is_io_error, cache_policy=NO_CACHE)
def land(settings: Settings, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Land a batch of files of one source; only failing input or output is worth another try."""
    landed = land_files(settings, arrivals)
    get_run_logger().info("landed %d files of %s", len(landed), arrivals[0].source_name)
    return landed


@task(name="retention", cache_policy=NO_CACHE)
def drop_old(settings: Settings) -> retention.Plan | None:
    """Drop what is older than the retention period, before the build that must follow."""
    plan = retention.drop_old(settings)
    if plan:
        get_run_logger().info("dropped %d events and %d files older than %s", plan.events, plan.files, plan.cutoff)
    return plan


@task(name="build", cache_policy=NO_CACHE)
def build_models(settings: Settings, *, full_refresh: bool, test_whole: bool) -> BuildResult:
    """Build and test what has landed, in the private database."""
    result = build(settings, full_refresh=full_refresh, test_whole=test_whole)
    get_run_logger().info("built %d files" if result.is_built else "nothing new to build (%d files)", result.files)
    return result


@task(name="publish", cache_policy=NO_CACHE)
def publish_marts(settings: Settings) -> Path:
    """Put the tested marts where readers look."""
    path = publish(settings)
    get_run_logger().info("published %s", path)
    return path


@task(name="export", cache_policy=NO_CACHE)
def export_files(settings: Settings) -> list[Path]:
    """Write the files under `exports/` from what is published."""
    paths = export_all(settings)
    get_run_logger().info("exported %d files to %s", len(paths), settings.exports)
    return paths


@flow(name="daily")
def daily(
    home: Path = Path("data"),
    full_refresh: bool = False,
    report_days: Annotated[int, Field(ge=1, le=3660)] = 30,
    suppression_policy: Literal["smtp_5xx", "recipient"] = "smtp_5xx",
    inbox: Path | None = None,
    wait: bool = False,
    test_whole: bool = False,
) -> RunResult:
    """Bring the home up to date with its inbox: land what is new, build, publish, export.

    One run at a time for each home: `RunActiveError`, or with `wait` queue. `BuildFailed` when a test fails, and then
    nothing is published.
    """
    settings = Settings(
        home=home, inbox_directory=inbox, report_days=report_days, suppression_policy=suppression_policy
    )
    with hold_lock(settings, wait=wait):
        with step("look into the inbox"):
            arrivals = look_into_inbox(settings)
        if arrivals.files:
            warm_dbt(settings.dbt_target)  # while they are landed
        with step(f"read {FILE_NAME}"):
            read_own(settings)
        with step("land"), progress.follow("Landing", "bytes", sum(each.file_bytes for each in arrivals.files)):
            outcomes = [
                (arrival, outcome)
                for batch in make_batches(arrivals.files)
                for arrival, outcome in zip(batch, land(settings, batch), strict=True)
            ]
            remember(settings, outcomes)
        loads = [outcome for _, outcome in outcomes if isinstance(outcome, Load)]
        unreadable = [*arrivals.unreadable, *(each for _, each in outcomes if isinstance(each, Unreadable))]
        create_markdown_artifact(describe_loads(loads, unreadable), key="loads", description="Files landed by this run")
        with step("retention"):
            dropped = drop_old(settings)
        with step("build"):
            built = build_models(settings, full_refresh=full_refresh, test_whole=test_whole)
        create_markdown_artifact(describe_audit(built), key="audit", description="The build and its tests")
        with step("publish"):
            # also where an earlier run was killed between its build and its publication
            if published_build_id(settings) != find_build_id(settings):
                publish_marts(settings)
        with step("export"):
            try:
                exports = export_files(settings)
            except Exception as error:
                raise NotExportedError(
                    f"published, but the exports could not be written: {mask_addresses(str(error))}",
                    "mend that, then run again",
                ) from error
        create_markdown_artifact(describe_report(settings), key="bounces", description="The top of the report")
        return RunResult(loads, unreadable, arrivals.unknown_folders, built, exports, dropped)


def look_into_inbox(settings: Settings) -> Arrivals:
    """Find what may be new; a missing inbox is an error that says so."""
    try:
        return find_arrivals(settings)
    except InboxMissing as error:
        raise ActionableError(str(error), "nothing was changed; run again when it is there") from error


def serve_daily(settings: Settings, *, cron: str) -> None:
    """Stay, and run the flow whenever `cron` (five fields, in UTC) says, one run at a time."""
    try:
        schedule = CronSchedule(cron=cron, timezone="UTC")
    except ValueError:
        raise WrongUsageError(
            f"{cron!r} is no cron schedule", "give five fields, such as '0 6 * * *' for six in the morning, UTC"
        ) from None
    parameters = {
        "home": str(settings.root),
        "inbox": str(settings.inbox),
        "report_days": settings.report_days,
        "suppression_policy": settings.suppression_policy,
    }
    daily.serve(
        name="daily",
        schedules=[schedule],
        limit=1,
        global_limit=1,
        parameters=parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def make_batches(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Group arrivals by source, in batches of at most `BATCH_FILES` and `BATCH_BYTES` (a larger file goes alone)."""
    for _, group in groupby(
        sorted(arrivals, key=lambda arrival: arrival.source_name), lambda arrival: arrival.source_name
    ):
        batch: list[Arrival] = []
        size = 0
        for arrival in group:
            if batch and (len(batch) == BATCH_FILES or size + arrival.file_bytes > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(arrival)
            size += arrival.file_bytes
        yield batch


def describe_loads(loads: Sequence[Load], unreadable: Sequence[Unreadable]) -> str:
    """Markdown: the files of this run with what was read, landed and rejected, the most rejected first."""
    rows = sorted(loads, key=lambda record: (-record.records_rejected, record.source_name, record.source_file))
    table = make_markdown_table(
        ["source", "file", "read", "landed", "rejected", "message"],
        [
            [
                record.source_name,
                record.source_file,
                record.records_read,
                record.records_landed,
                record.records_rejected,
                mask_addresses(record.message or ""),
            ]
            for record in rows[:ARTIFACT_ROWS]
        ],
    )
    parts = [table]
    if len(rows) > ARTIFACT_ROWS:
        parts.append(f"{len(rows) - ARTIFACT_ROWS} more files; all are in `marts.ops_loads`.")
    if unreadable:
        parts.append("Could not be read, and will be tried again:")
        parts.append(make_markdown_table(["file", "why"], [[file.source_file, file.message] for file in unreadable]))
    return "\n\n".join(parts)


def describe_audit(built: BuildResult) -> str:
    """Markdown: what was built and tested, and the tests that warn."""
    notes = "".join(f"\n- {escape_markdown(note)}" for note in built.notes)
    if not built.is_built:
        return f"Nothing new: no landed file waited to be built.\n{notes}"
    warnings = "\n".join(f"- {escape_markdown(warning)}" for warning in built.warnings) or "No test warns."
    counts = f"{built.files} files, {built.models} models, {built.tests} tests passed, {built.seconds:.1f} s."
    return f"{counts}\n\n{warnings}\n{notes}"


def describe_report(settings: Settings) -> str:
    """Markdown: the first rows of the bounces report by From domain over the days that the exports cover."""
    with hold_readable(settings) as database:
        first_day, last_day = choose_period(database, first_day=None, last_day=None, days=settings.report_days)
        selection = Selection(first_day, last_day)
        table = report(database, selection).drop_columns(["sample_message"])
    rows = [list(row.values()) for row in table.slice(0, TOP_ROWS).to_pylist()]
    return f"{escape_markdown(selection.describe())}\n\n{make_markdown_table(table.column_names, rows)}"
