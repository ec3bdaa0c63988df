"""Build and test the warehouse: show dbt the batch, run it once, and keep in mind what a finished build took in."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from flows import landing, restatements, rules
from flows.dbt_project import find_project_directory
from flows.erasure.late import erase_late
from flows.failpoints import failpoint
from flows.landing import loads
from flows.problems import ActionableError, CannotWriteError, mask_addresses, read_write_problem, remedy_of
from flows.retained import TABLES, Retained, find_retained, select_retained
from flows.settings import ACTIONS, SOURCES, Settings
from flows.sources import read_sources
from flows.sql import listed, quote
from flows.work import WorkDamagedError, is_damage, mark_format, open_work, prepare_work, set_aside

LOAD_COLUMNS = {
    "source_name": "varchar",
    "source_file": "varchar",
    "file_digest": "varchar",
    "file_bytes": "bigint",
    "compression": "varchar",
    "records_read": "bigint",
    "records_landed": "bigint",
    "records_rejected": "bigint",
    "is_complete": "boolean",
    "message": "varchar",
    "landed_at": "timestamp",
}
SAMPLE_ROWS = 10
"""Rows shown of a data test that failed; of a table's `rules`, one for each that is broken."""


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


@dataclass(frozen=True)
class Versions:
    """What the tables in `work.duckdb` depend on besides the landed files."""

    project: str
    """Digest of the models, macros, seeds other than the rules, and of what sources.yml says of records; when it moves,
    everything is built from landing."""
    rule_set: str
    """Digest of the rules; when it moves, every message is derived and judged again."""
    suppression_settings: str
    """What puts an address on the list, as JSON; when it moves, the lists are derived again."""
    retained: int
    """Number of what is retained of dropped messages; when it moves, what is derived from all events is made again."""


def find_versions(settings: Settings) -> Versions:
    """Digest the project as it stands on disk."""
    project = find_project_directory()
    digest = hashlib.sha256()
    rule_seeds = set(rules.SEEDS)
    for folder in ("models", "macros", "seeds"):
        for path in sorted((project / folder).rglob("*")):
            # descriptions and tests in YAML change no table
            if path.suffix in {".sql", ".csv"} and path.name not in rule_seeds:
                digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(json.dumps(read_sources(settings).variables, sort_keys=True).encode())
    suppression_settings = json.dumps(settings.suppression_variables, sort_keys=True)
    retained = find_retained(settings)
    return Versions(
        digest.hexdigest()[:16],
        rules.rule_set_version(project),
        suppression_settings,
        retained.number if retained else 0,
    )


def build(settings: Settings, *, full_refresh: bool = False) -> BuildResult:
    """Build every model over the landed files that no finished build has taken in, and test the result.

    A build that fails or is killed leaves its files waiting, so that the next one takes them again; the models give
    the same tables when they see a record a second time. `BuildFailed` names what failed. A damaged private database
    is set aside and built again from landing; `LandingDamagedError` where that would lose records.
    """
    notes = prepare_work(settings)
    try:
        result = _build(settings, full_refresh=full_refresh)
    except (WorkDamagedError, duckdb.Error) as error:
        if isinstance(error, duckdb.Error) and not is_damage(error):
            raise
        notes.append(set_aside(settings, "damaged", str(error).splitlines()[0]))
        result = _build(settings, full_refresh=True)
    return replace(result, notes=[*notes, *result.notes])


def _build(settings: Settings, *, full_refresh: bool) -> BuildResult:
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
        built_with, begun_with = _read_versions(connection), _read_begun(connection)
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
        if not batch and built_with == versions and not full_refresh and not begun_with:
            return BuildResult(False, 0, 0, 0, [], time.perf_counter() - started, notes)
        connection.execute("update landing.work_state set is_settled = false")
        _show_batch(connection, settings, batch)
        _show_retained(connection, retained)
        rules.install(connection, find_project_directory())
        connection.execute("insert into landing.begun values (?)", [versions.rule_set])
    failpoint("build.batch_shown")
    judged_with = {*begun_with, *([built_with.rule_set] if built_with else [])}
    is_retouched = not full_refresh and judged_with != {versions.rule_set}
    results = _run_dbt(settings, versions, full_refresh=full_refresh, is_retouched=is_retouched)
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
        _finish(connection, versions, batch, results)
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


def find_build_id(settings: Settings) -> str | None:
    """Give the id of the last finished build: what is published carries it."""
    if not settings.work_database.exists():
        return None
    with open_work(settings) as connection:
        create_state(connection)
        row = connection.execute("select build_id from landing.builds order by finished_at desc limit 1").fetchone()
    return str(row[0]) if row else None


@dataclass(frozen=True)
class WorkState:
    """What is known of `work.duckdb`: with which retained tables its own go, and if a finished build left them."""

    retained: int = 0
    is_settled: bool = False
    versions: Versions | None = None


def find_work_state(settings: Settings) -> WorkState:
    """Look into `work.duckdb`; where there is none, it goes with whatever is retained."""
    if not settings.work_database.exists():
        retained = find_retained(settings)
        return WorkState(retained.number if retained else 0)
    with open_work(settings) as connection:
        create_state(connection)
        row = connection.execute("select retained, is_settled from landing.work_state").fetchone()
        retained_number, is_settled = row or (0, False)
        return WorkState(retained_number, is_settled, _read_versions(connection))


def remove_work(settings: Settings) -> None:
    """Remove `work.duckdb`; the next build makes it anew from landing."""
    for path in (settings.work_database, settings.work_database.with_name(settings.work_database.name + ".wal")):
        path.unlink(missing_ok=True)


def find_kept(settings: Settings, retained: Retained | None) -> list[landing.Load]:
    """The landed files whose records are there to be built; `ActionableError` if what stays of others is lost."""
    dropped = retained.dropped_digests if retained else set()
    loads = [load for load in landing.read_loads(settings) if load.file_digest not in dropped]
    if lost := [load.source_file for load in loads if load.dropped_at]:
        raise ActionableError(
            f"retention dropped {len(lost)} landed files, among them {lost[0]}, and what it retained of them is gone",
            f"put {settings.root / 'retained'} back from a backup; without it reports and lists would lose their past",
        )
    return loads


def create_state(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables in which builds remember what they did, as far as they are missing."""
    connection.execute("create schema if not exists landing")
    connection.execute("create table if not exists landing.built_files (file_digest varchar primary key)")
    connection.execute(
        """create table if not exists landing.builds (
            build_id varchar primary key,
            finished_at timestamp,
            file_count bigint,
            project_version varchar,
            rule_set_version varchar,
            suppression_policy varchar,
            suppression_settings varchar
        )"""
    )
    connection.execute("alter table landing.builds add column if not exists suppression_settings varchar")
    connection.execute(
        "create table if not exists landing.marts (mart varchar, column_name varchar, description varchar)"
    )
    connection.execute("create table if not exists landing.begun (rule_set_version varchar)")
    connection.execute("alter table landing.builds add column if not exists retained bigint")
    connection.execute(
        """create table if not exists landing.work_state as
        select cast(0 as bigint) as retained, exists (select 1 from landing.builds) as is_settled"""
    )
    mark_format(connection)


def _read_versions(connection: duckdb.DuckDBPyConnection) -> Versions | None:
    row = connection.execute(
        """select project_version, rule_set_version, suppression_settings, coalesce(retained, 0)
        from landing.builds
        where exists (from landing.marts) -- a build of a version that did not write them down counts for nothing
        order by finished_at desc
        limit 1"""
    ).fetchone()
    return Versions(*row) if row else None


def _read_begun(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Versions of the rules that builds have judged with which did not come to their end."""
    return {row[0] for row in connection.execute("select rule_set_version from landing.begun").fetchall()}


def _show_retained(connection: duckdb.DuckDBPyConnection, retained: Retained | None) -> None:
    """Show every build, beside its batch, the whole of what is retained of dropped files."""
    for table in TABLES:
        connection.execute(f"create or replace view landing.retained_{table} as {select_retained(retained, table)}")


def _show_batch(connection: duckdb.DuckDBPyConnection, settings: Settings, batch: list[landing.Load]) -> None:
    """Make the batch what the dbt sources `landing.*` hold: views on its files, empty but typed where it has none."""
    packs: dict[tuple[str, str], list[landing.Load]] = {}
    for load in batch:
        packs.setdefault((load.source_name, load.landing_name), []).append(load)
    for source in (*SOURCES, ACTIONS):
        files = {
            loads.landing_path(settings, source, name): _chosen(name, chosen)
            for (source_name, name), chosen in packs.items()
            if source_name == source
        }
        _show(connection, source, landing.LANDING_COLUMNS[source], files)
    rejected = {
        loads.rejects_path(settings, source_name, name): _chosen(name, chosen)
        for (source_name, name), chosen in packs.items()
        if any(load.records_rejected for load in chosen)
    }
    _show(connection, "rejects", landing.REJECT_COLUMNS, rejected)
    kept = settings.restatements
    _show(connection, "restatements", restatements.COLUMNS, {kept: None} if kept.exists() else {})
    rows = pa.table({name: [getattr(load, name) for load in batch] for name in LOAD_COLUMNS})
    columns = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in LOAD_COLUMNS.items())
    connection.register("batch", rows)
    connection.execute(f"create or replace table landing.loads as select {columns} from batch")
    connection.unregister("batch")


def _chosen(landing_name: str, chosen: list[landing.Load]) -> list[str] | None:
    """The digests to be read out of a pack; None if all are, as is usual.

    Others of a pack may be built under another name: a content that lies in two sources, or in a pack that was lost,
    landed again and put back.
    """
    digests = [load.file_digest for load in chosen]
    return None if landing_name in (digests[0], loads.name_pack(digests)) else digests


def _show(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, str], files: Mapping[Path, list[str] | None]
) -> None:
    """Make `landing.<name>` a view on the files, of some only the records of the digests beside.

    A column that the source has got since a file was landed is null in it; one that it has lost is passed over.
    """
    nothing = ", ".join(f"cast(null as {kind}) as {quote(column)}" for column, kind in columns.items())
    selects = []
    for digests, paths in _by_digests(files):
        source = f"read_parquet([{listed(paths)}], union_by_name = true)"
        present = {row[0].lower() for row in connection.execute(f"describe select * from {source}").fetchall()}
        values = {column: quote(column) if column.lower() in present else "null" for column in columns}
        typed = ", ".join(f"cast({values[column]} as {kind}) as {quote(column)}" for column, kind in columns.items())
        condition = f" where file_digest in ({listed(digests)})" if digests else ""
        selects.append(f"select {typed} from {source}{condition}")
    query = " union all ".join(selects) or f"select {nothing} where false"
    connection.execute(f"create or replace view landing.{name} as {query}")


def _by_digests(files: Mapping[Path, list[str] | None]) -> Iterator[tuple[list[str] | None, list[str]]]:
    """The files of which all is wanted together, the others one by one; none of which nothing is."""
    if whole := [str(path) for path, digests in files.items() if digests is None]:
        yield None, whole
    for path, digests in files.items():
        if digests:
            yield digests, [str(path)]


def _finish(
    connection: duckdb.DuckDBPyConnection, versions: Versions, batch: list[landing.Load], results: list[dict[str, Any]]
) -> None:
    """Write down, in one transaction, that the batch is built, and what the marts are."""
    finished_at = datetime.now(UTC).replace(tzinfo=None)
    build_id = hashlib.sha256(f"{finished_at.isoformat()} {os.getpid()}".encode()).hexdigest()[:16]
    connection.execute("begin")
    connection.register("batch", pa.table({"file_digest": pa.array((load.file_digest for load in batch), pa.string())}))
    connection.execute("insert or ignore into landing.built_files select distinct file_digest from batch")
    connection.execute(
        """insert into landing.builds (
            build_id, finished_at, file_count, project_version, rule_set_version, suppression_policy,
            suppression_settings, retained
        ) values (?, ?, ?, ?, ?, ?, ?, ?)""",
        [
            build_id,
            finished_at,
            len(batch),
            versions.project,
            versions.rule_set,
            json.loads(versions.suppression_settings)["suppression_policy"],
            versions.suppression_settings,
            versions.retained,
        ],
    )
    marts = [
        {"mart": result["name"], "column_name": column, "description": description}
        for result in results
        if "columns" in result
        for column, description in [(None, result["description"]), *result["columns"].items()]
    ]
    connection.register("marts", pa.Table.from_pylist(marts))
    connection.execute("delete from landing.marts")
    connection.execute("insert into landing.marts by name select * from marts")
    connection.execute("delete from landing.begun")
    connection.execute("update landing.work_state set is_settled = true")
    failpoint("build.finishing")
    connection.execute("commit")


def _run_dbt(settings: Settings, versions: Versions, *, full_refresh: bool, is_retouched: bool) -> list[dict[str, Any]]:
    """Run `dbt build` in a process of its own (in-process dbt keeps the database locked) and give its results."""
    target = settings.state / "dbt"
    target.mkdir(parents=True, exist_ok=True)
    results_file = target / "results.json"
    results_file.unlink(missing_ok=True)
    project = find_project_directory()
    variables = {
        **settings.suppression_variables,
        "rule_set_version": versions.rule_set,
        "is_retouched": is_retouched,
        "is_rebuilt": full_refresh,
        **read_sources(settings).variables,
    }
    log = target / "dbt.log"
    command = [
        sys.executable, "-m", "flows.dbt_child", str(results_file), str(log), "build",
        "--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target),
        "--no-write-json", "--log-level", "none", "--log-level-file", "none", "--log-path", str(target),
        "--exclude-resource-type", "unit_test", "--vars", json.dumps(variables),
    ]  # fmt: skip
    if full_refresh:
        command.append("--full-refresh")
    environment = {
        **os.environ,
        "BOUNCEHOUSE_WORK_DATABASE": str(settings.work_database),
        "BOUNCEHOUSE_MEMORY_LIMIT": settings.memory_limit,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    said = target / "said.txt"
    with (
        said.open("wb") as output,
        # its standard input stays open as long as we live: see flows/child.py
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        exit_code = process.wait()
    action = f"see {log}, or run again with --verbose; nothing was published"
    output_text = said.read_text(errors="replace")
    if exit_code < 0:
        raise BuildFailed(
            f"dbt was ended by signal {-exit_code}, as happens where memory is short", f"run again; {action}"
        )
    if exit_code != 0 or not results_file.exists():
        last_words = mask_addresses(" ".join(output_text.split()[-80:]))
        raise BuildFailed(f"dbt ended with exit code {exit_code}: {last_words}", action, output_text)
    found = json.loads(results_file.read_text(encoding="utf-8"))
    if found["error"]:
        raise BuildFailed(f"dbt did not run: {mask_addresses(found['error'])}", action, output_text)
    results: list[dict[str, Any]] = found["results"]
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
        f" {settings.state / 'dbt' / 'dbt.log'} has the whole story",
        "\n".join(parts),
    )


def _describe_warning(connection: duckdb.DuckDBPyConnection, result: dict[str, Any]) -> list[str]:
    """Give what a test warns of: its own sentences where it selects a `warning`, else its name and dbt's count."""
    cursor = connection.execute(f"select * from ({result['query']}) limit {SAMPLE_ROWS}")
    if [column[0] for column in cursor.description or []] == ["warning"]:
        return [str(row[0]) for row in cursor.fetchall()]
    return [f"{result['name']}: {result['message'] or ''}"]


def _sample(connection: duckdb.DuckDBPyConnection, failure: dict[str, Any]) -> list[str]:
    """Give some rows of a failed data test, a line each; `repr` keeps control characters from acting."""
    cursor = connection.execute(f"select * from ({failure['query']}) limit {SAMPLE_ROWS}")
    names = [column[0] for column in cursor.description or []]
    lines = []
    for row in cursor.fetchall():
        line = ", ".join(f"{name} = {value!r}" for name, value in zip(names, row, strict=True))
        lines.append("    " + line[:400])
    return lines
