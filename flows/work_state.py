"""What builds remember in `work.duckdb`: the landed files that are built, and what else the tables depend on."""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from flows import landing, rules
from flows.dbt_project import find_project_directory
from flows.failpoints import failpoint
from flows.pair import CREATE_TOKENS, confirm
from flows.retained import TABLES, find_retained
from flows.settings import Settings
from flows.sources import read_sources
from flows.work import WorkDamagedError, is_usable, mark_format, open_work


@dataclass(frozen=True)
class Versions:
    """What the tables in the private databases depend on besides the landed files."""

    project: str
    """Digest of the models, macros, seeds other than the rules, of the columns of what landed and is retained, and of
    what sources.yml says of records; when it moves, everything is built from landing."""
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
    digest.update(json.dumps([landing.LANDING_COLUMNS, TABLES]).encode())
    digest.update(json.dumps(read_sources(settings).variables, sort_keys=True).encode())
    suppression_settings = json.dumps(settings.suppression_variables, sort_keys=True)
    retained = find_retained(settings)
    return Versions(
        digest.hexdigest()[:16],
        rules.rule_set_version(project),
        suppression_settings,
        retained.number if retained else 0,
    )


@dataclass(frozen=True)
class WorkState:
    """What is known of the private databases: with which retained tables they go, and if a finished build left them.

    Those that are not usable are set aside by the next build.
    """

    retained: int = 0
    is_usable: bool = True
    is_settled: bool = False
    versions: Versions | None = None


def find_work_state(settings: Settings) -> WorkState:
    """Look into `work.duckdb`; where there is none, it goes with whatever is retained."""
    if not settings.work_database.exists():
        retained = find_retained(settings)
        return WorkState(retained.number if retained else 0)
    try:
        with open_work(settings) as connection:
            if not is_usable(connection):
                return WorkState(is_usable=False)
            create_state(connection)
            row = connection.execute("select retained, is_settled from landing.work_state").fetchone()
            retained_number, is_settled = row or (0, False)
            return WorkState(retained_number, is_settled=is_settled, versions=read_versions(connection))
    except WorkDamagedError:
        return WorkState(is_usable=False)


def find_build_id(settings: Settings) -> str | None:
    """Give the id of the last finished build: what is published carries it."""
    if not settings.work_database.exists():
        return None
    with open_work(settings) as connection:
        if not is_usable(connection):
            return None
        create_state(connection)
        row = connection.execute("select build_id from landing.builds order by finished_at desc limit 1").fetchone()
    return str(row[0]) if row else None


def create_state(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables in which builds remember what they did, as far as they are missing."""
    connection.execute("begin")
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
    connection.execute("alter table landing.builds add column if not exists is_tested_whole boolean")
    connection.execute(
        """create table if not exists landing.work_state as
        select cast(0 as bigint) as retained, exists (select 1 from landing.builds) as is_settled"""
    )
    connection.execute(CREATE_TOKENS)
    mark_format(connection)
    connection.execute("commit")


def read_versions(connection: duckdb.DuckDBPyConnection) -> Versions | None:
    """What the last finished build was made with; None where there is none to build on."""
    row = connection.execute(
        """select project_version, rule_set_version, suppression_settings, coalesce(retained, 0)
        from landing.builds
        order by finished_at desc
        limit 1"""
    ).fetchone()
    return Versions(*row) if row else None


def read_tested_whole(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """When all rows were last tested, not only those that a build can have changed (UTC); None if they never were."""
    row = connection.execute("select max(finished_at) from landing.builds where is_tested_whole").fetchone()
    return row[0] if row else None


def can_continue(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether all tables are as the last finished build left them, so that changes can be told by comparing.

    Not after one that did not come to its end, nor after a pass of retention, which leaves out what is made anew, seeds
    among it.
    """
    row = connection.execute(
        """select is_settled and exists (
            select 1 from duckdb_tables() where database_name = 'work' and schema_name = 'seeds'
        )
        from landing.work_state"""
    ).fetchone()
    return bool(row and row[0])


def can_resume(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether it is known by which links of reports messages were judged, by the last build that finished and by those
    since then that did not come to their end (int_report_links__before). A pass of retention leaves both tables.
    """
    row = connection.execute(
        """select count(*) = 2 from duckdb_tables()
        where database_name = 'work' and schema_name = 'intermediate'
            and table_name in ('int_report_links__before', 'int_report_links__found')"""
    ).fetchone()
    return bool(row and row[0])


def has_built_since_rebuild(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the last finished build was none that began from nothing, for which some views are others."""
    row = connection.execute("select count(*) > 1 from landing.builds").fetchone()
    return bool(row and row[0])


def read_begun(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Versions of the rules that builds have judged with which did not come to their end."""
    return {row[0] for row in connection.execute("select rule_set_version from landing.begun").fetchall()}


def write_finished(
    connection: duckdb.DuckDBPyConnection,
    versions: Versions,
    batch: list[landing.Load],
    results: list[dict[str, Any]],
    token: str,
    *,
    is_tested_whole: bool,
) -> None:
    """Write down, in one transaction, that the batch is built, what the marts are and which token they have."""
    finished_at = datetime.now(UTC).replace(tzinfo=None)
    build_id = hashlib.sha256(f"{finished_at.isoformat()} {os.getpid()}".encode()).hexdigest()[:16]
    connection.execute("begin")
    connection.register("batch", pa.table({"file_digest": pa.array((load.file_digest for load in batch), pa.string())}))
    connection.execute("insert or ignore into landing.built_files select distinct file_digest from batch")
    connection.execute(
        """insert into landing.builds (
            build_id, finished_at, file_count, project_version, rule_set_version, suppression_policy,
            suppression_settings, retained, is_tested_whole
        ) values (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        [
            build_id,
            finished_at,
            len(batch),
            versions.project,
            versions.rule_set,
            json.loads(versions.suppression_settings)["suppression_policy"],
            versions.suppression_settings,
            versions.retained,
            is_tested_whole,
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
    confirm(connection, token)
    failpoint("build.finishing")
    connection.execute("commit")
