"""Build and test the warehouse: show dbt the batch, run it once, and keep in mind what a finished build took in."""

import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from flows import landing, progress, rules
from flows.batch import find_kept, show_batch, show_retained
from flows.dbt_process import LOG_NAME, warm_dbt
from flows.dbt_project import find_project_directory
from flows.erasure.late import erase_late
from flows.failpoints import failpoint
from flows.pair import announce, attach_marts, checkpoint, confirm, write_token
from flows.problems import ActionableError, CannotWriteError, mask_addresses, read_write_problem, remedy_of
from flows.retained import find_retained
from flows.settings import Settings
from flows.sources import read_sources
from flows.work import WorkDamagedError, is_damage, open_work, prepare_work, remove_work, set_aside
from flows.work_state import (
    Versions,
    can_continue,
    can_resume,
    create_state,
    find_versions,
    find_work_state,
    has_built_since_rebuild,
    read_begun,
    read_tested_whole,
    read_versions,
    write_finished,
)

SAMPLE_ROWS = 10
"""Rows shown of a data test that failed; of a table's `rules`, one for each that is broken."""


WHOLE_TEST_DAYS = 7
"""So often data tests look at all rows; in between at those that the build can have changed, where that is exact."""


class BuildFailed(ActionableError):  # noqa: N818 (reads as the event it is)
    """dbt could not build a model, or an error-level test failed. Nothing is published."""


@dataclass(frozen=True)
class BuildResult:
    """What a build did. `is_built` is false when there was nothing to do; `notes` tell what it had to put right."""

    is_built: bool
    files: int
    models: int
    tests: int
    warnings: list[str]
    seconds: float
    notes: list[str] = field(default_factory=list)


def build(settings: Settings, *, full_refresh: bool = False, test_whole: bool = False) -> BuildResult:
    """Build every model over the landed files that no finished build has taken in, and test the result.

    A build that fails or is killed leaves its files waiting, so that the next one takes them again; the models give
    the same tables when they see a record a second time. Every `WHOLE_TEST_DAYS`, or with `test_whole` even where there
    is nothing to build, all rows are tested. `BuildFailed` names what failed. A damaged private database
    is set aside and built again from landing; `LandingDamagedError` where that would lose records.
    """
    notes = prepare_work(settings)
    try:
        result = _build(settings, full_refresh=full_refresh, test_whole=test_whole)
    except (WorkDamagedError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and not is_damage(error):
            raise
        notes.append(set_aside(settings, "damaged", str(error).splitlines()[0]))
        result = _build(settings, full_refresh=True, test_whole=True)
    return replace(result, notes=[*notes, *result.notes])


def is_up_to_date(settings: Settings) -> bool:
    """Whether a build would find nothing to do, nor anything to tell of damage or of work begun."""
    if not settings.work_database.exists():
        return False
    versions, retained = find_versions(settings), find_retained(settings)
    landed = find_kept(settings, retained)
    state = find_work_state(settings)
    if landing.find_damages(settings, landed) or not state.is_usable or state.retained != versions.retained:
        return False
    with open_work(settings) as connection:
        finished = {row[0] for row in connection.execute("select file_digest from landing.built_files").fetchall()}
        return (
            read_versions(connection) == versions
            and not read_begun(connection)
            and all(load.file_digest in finished for load in landed)
        )


def _build(settings: Settings, *, full_refresh: bool, test_whole: bool) -> BuildResult:
    """Build once; `WorkDamagedError` where the private database turns out to be damaged."""
    started = time.perf_counter()
    versions = find_versions(settings)
    retained = find_retained(settings)
    landed = find_kept(settings, retained)
    damages = landing.find_damages(settings, landed)
    notes = []
    if find_work_state(settings).retained != versions.retained:
        # it holds what was dropped, or was put back from before: flows/retention.py did not get to it
        remove_work(settings)
    with open_work(settings) as connection:
        connection.execute("set TimeZone = 'UTC'")
        create_state(connection)
        connection.execute("update landing.work_state set retained = ?", [versions.retained])
        built_with, begun_with = read_versions(connection), read_begun(connection)
        finished = {row[0] for row in connection.execute("select file_digest from landing.built_files").fetchall()}
        is_moved = built_with is not None and built_with.project != versions.project
        full_refresh = full_refresh or built_with is None or is_moved
        if lost := [damage for damage in damages if full_refresh or not damage.digests <= finished]:
            raise landing.LandingDamagedError(settings, lost)
        notes += [f"{damage.describe(settings)}; the marts still have its records" for damage in damages]
        if full_refresh:
            if is_moved:
                notes.append("the models, seeds or sources.yml have changed: everything is built again from landing")
            # from here until the build is finished the tables are of mixed ages, and the missing version says so
            connection.execute("begin; delete from landing.built_files; delete from landing.builds; commit")
            failpoint("build.versions_forgotten")
            finished = set()
        batch = [load for load in landed if load.file_digest not in finished]
        if erase_late(settings, batch):
            batch = [load for load in find_kept(settings, retained) if load.file_digest not in finished]
        if not batch and built_with == versions and not full_refresh and not begun_with and not test_whole:
            return BuildResult(False, 0, 0, 0, [], time.perf_counter() - started, notes)
        warm_dbt(settings.dbt_target)  # while the batch is made ready
        tested_at = read_tested_whole(connection)
        is_due = tested_at is None or datetime.now(UTC).replace(tzinfo=None) - tested_at >= timedelta(WHOLE_TEST_DAYS)
        is_tested_whole = full_refresh or test_whole or is_due
        is_retouched = not full_refresh and {*begun_with, *([built_with.rule_set] if built_with else [])} != {
            versions.rule_set
        }
        is_continued = not full_refresh and not is_retouched and can_continue(connection)
        is_list_continued = (
            is_continued and built_with is not None and built_with.suppression_settings == versions.suppression_settings
        )
        has_views = is_list_continued and has_built_since_rebuild(connection)
        connection.execute("update landing.work_state set is_settled = false")
        show_batch(connection, settings, batch)
        show_retained(connection, retained)
        rules.install(connection, find_project_directory())
        connection.execute("insert into landing.begun values (?)", [versions.rule_set])
        this_build = {
            "is_rebuilt": full_refresh,
            "is_retouched": is_retouched,
            "is_continued": is_continued,
            "is_resumed": not full_refresh and not is_continued and can_resume(connection),
            "is_list_continued": is_list_continued,
            "is_tested_whole": is_tested_whole,
        }
        attach_marts(connection, settings)
        token = announce(connection)
        write_token(connection, token)
        confirm(connection, token)
        if full_refresh:
            connection.execute("drop schema if exists marts.marts cascade")  # of a model that is no more, too
            # of the marts made anew hardly a block lies where one lay: it would only take the room
            settings.former_database.unlink(missing_ok=True)
        else:
            # dbt reads the few lines of the log that this leaves; a checkpoint writes anew all that a file says of rows
            connection.execute("pragma disable_checkpoint_on_shutdown")
    failpoint("build.batch_shown")
    results = _run_dbt(settings, versions, this_build, has_views=has_views)
    failpoint("build.dbt_ended")
    failures = [result for result in results if result["status"] in {"error", "fail", "runtime error"}]
    if failures:
        said = "\n".join(str(failure["message"]) for failure in failures if failure["status"] != "fail")
        if is_damage(said):
            raise WorkDamagedError(next(line for line in said.splitlines() if is_damage(line)))
        if number := read_write_problem(said):
            raise CannotWriteError(
                f"dbt cannot write: {next(line for line in said.splitlines() if read_write_problem(line))}",
                f"{remedy_of(number)}; then run again: what was published before stays",
            )
        if unreadable := landing.set_unreadable_aside(settings, batch):
            raise landing.LandingDamagedError(settings, unreadable)
        raise _describe_failures(settings, failures)
    with open_work(settings) as connection:
        warnings = [
            line for result in results if result["status"] == "warn" for line in _describe_warning(connection, result)
        ]
        connection.execute("set checkpoint_threshold = '1TB'")  # none by a commit: it would be of one file
        token = announce(connection)
        write_token(connection, token)
        write_finished(connection, versions, batch, results, token, is_tested_whole=is_tested_whole)
        checkpoint(connection)
    failpoint("build.finished")
    return BuildResult(
        is_built=True,
        files=len(batch),
        models=sum(result["kind"] == "model" for result in results),
        tests=sum(result["kind"] == "test" for result in results),
        warnings=warnings,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def find_variables(settings: Settings, versions: Versions) -> dict[str, Any]:
    """Variables of dbt's by name: where one differs from what was parsed with, dbt parses the whole project anew."""
    return {
        **settings.suppression_variables,
        "rule_set_version": versions.rule_set,
        **read_sources(settings).variables,
        # what dbt parsed holds whole paths of seeds: with this, another installation that takes a home over parses anew
        "project_directory": str(find_project_directory()),
    }


def _run_dbt(
    settings: Settings, versions: Versions, this_build: dict[str, bool], *, has_views: bool
) -> list[dict[str, Any]]:
    """Run `dbt build` in a process of its own (in-process dbt keeps the database locked) and give its results.

    `this_build` is what models have to know of it (macros/this_build.sql). `has_views`: what this build would make of
    models that are views, the last one has made.
    """
    left_out = []
    if this_build["is_continued"]:
        # seeds are as the last build left them: where one has moved, the rules or everything is another
        left_out += ["resource_type:seed"] if this_build["is_tested_whole"] else ["path:seeds"]
    if has_views:
        left_out += [f"config.materialized:view,path:models/{folder}" for folder in ("staging", "intermediate")]
    # `empty`: what is left out leaves the tests that look at it
    arguments = ["build", "--exclude-resource-type", "unit_test", "--indirect-selection", "empty"]
    arguments += ["--vars", json.dumps(find_variables(settings, versions))]
    if left_out:
        arguments += ["--exclude", *left_out]
    if this_build["is_rebuilt"]:
        arguments.append("--full-refresh")
    target = settings.dbt_target
    with progress.follow("Building", "steps"):
        done = warm_dbt(target).run(
            arguments,
            target=target,
            environment={
                "BOUNCEHOUSE_WORK_DATABASE": str(settings.work_database),
                "BOUNCEHOUSE_MEMORY_LIMIT": settings.memory_limit,
                **{f"DBT_ENV_CUSTOM_ENV_{what.upper()}": str(holds).lower() for what, holds in this_build.items()},
            },
            on_progress=progress.set_done,
        )
    action = f"see {target / LOG_NAME}, or run again with --verbose; nothing was published"
    if done.exit_code < 0:
        raise BuildFailed(
            f"dbt was ended by signal {-done.exit_code}, as happens where memory is short", f"run again; {action}"
        )
    if done.exit_code != 0 or not done.found:
        last_words = mask_addresses(" ".join(done.said.split()[-80:]))
        raise BuildFailed(f"dbt ended with exit code {done.exit_code}: {last_words}", action, done.said)
    if done.found["error"]:
        raise BuildFailed(f"dbt did not run: {mask_addresses(done.found['error'])}", action, done.said)
    results: list[dict[str, Any]] = done.found["results"]
    return results


def _describe_failures(settings: Settings, failures: list[dict[str, Any]]) -> BuildFailed:
    """Name the tests and models that failed; the details have what dbt said, and some rows of each failed test."""
    names, parts = [], []
    with open_work(settings) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for failure in failures[:10]:
            message = " ".join((failure["message"] or "").split())[:500]
            names.append(f"{failure['name']} ({mask_addresses(message)[:160]})")
            parts.append(f"{failure['name']}: {message}")
            if failure["kind"] == "test" and failure["status"] == "fail":
                parts += _sample(connection, failure)
    return BuildFailed(
        f"{len(failures)} of the build's models and tests failed; nothing was published: {', '.join(names)}",
        "what was published before stays; put it right and run again, with --verbose for sample rows;"
        f" {settings.state / 'dbt' / LOG_NAME} has the whole story",
        "\n".join(parts),
    )


def _describe_warning(connection: duckdb.DuckDBPyConnection, result: dict[str, Any]) -> list[str]:
    """Give what a test warns of: its own sentences where it selects a `warning`, else its name and dbt's count."""
    cursor = connection.execute(f"select * from ({result['code']}) limit {SAMPLE_ROWS}")
    if [column[0] for column in cursor.description or []] == ["warning"]:
        return [str(row[0]) for row in cursor.fetchall()]
    return [f"{result['name']}: {result['message'] or ''}"]


def _sample(connection: duckdb.DuckDBPyConnection, failure: dict[str, Any]) -> list[str]:
    """Give some rows of a failed data test, a line each; `repr` keeps control characters from acting."""
    cursor = connection.execute(f"select * from ({failure['code']}) limit {SAMPLE_ROWS}")
    names = [column[0] for column in cursor.description or []]
    lines = []
    for row in cursor.fetchall():
        line = ", ".join(f"{name} = {value!r}" for name, value in zip(names, row, strict=True))
        lines.append("    " + line[:400])
    return lines
