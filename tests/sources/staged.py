"""What a source's files become: landed for real, then read by the staging model as dbt compiles it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from flows import addresses, batch, landing
from flows.settings import Settings

PROJECT = Path(__file__).parent.parent.parent


def staged(
    folder: Path, source: str, files: dict[str, bytes], variables: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of `stg_<source>__events` for files by name, in the order of files and records.

    `folder` becomes the home, so that a test can look at what was landed; `variables` are dbt's, as from `sources.yml`.
    """
    for name, content in files.items():
        path = folder / "inbox" / source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    loads = land(folder)
    return stage(folder, source, loads, variables)


def land(folder: Path) -> list[landing.Load]:
    """Land the inbox of a home; every file must be readable, and its records counted."""
    settings = Settings(home=folder, threads=1)
    loads = []
    for arrival in landing.find_arrivals(settings).files:
        load = landing.land_file(settings, arrival)
        assert isinstance(load, landing.Load)
        assert load.records_read == load.records_landed + load.records_rejected
        loads.append(load)
    return loads


def stage(
    folder: Path, source: str, loads: list[landing.Load], variables: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of the staging model over what was landed."""
    with open_staged(folder, source, loads, variables) as connection:
        cursor = connection.execute(
            "select * from staged order by source_file, record_number, record_part, recipient_number"
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def open_staged(
    folder: Path, source: str, loads: list[landing.Load], variables: dict[str, Any] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose view `staged` is the staging model over what was landed."""
    files = {folder / "landing" / source / f"{load.landing_name}.parquet": None for load in loads}
    queries = compiled(json.dumps(variables or {}))
    with duckdb.connect(":memory:") as connection:
        addresses.register(connection)
        connection.execute("set TimeZone = 'UTC'; attach ':memory:' as work; use work; create schema landing")
        batch.show_files(connection, source, landing.LANDING_COLUMNS[source], files)
        if lines := queries.get(f"stg_{source}__lines"):  # of sources that are taken apart before they are read
            connection.execute(f"create schema staging; create view staging.stg_{source}__lines as {lines}")
        connection.execute(f"create view staged as {queries[f'stg_{source}__events']}")
        yield connection


def rejects(folder: Path, source: str) -> list[tuple[Any, ...]]:
    """(record number, part, reason) of what was not landed."""
    paths = [str(path) for path in (folder / "rejects" / source).glob("*.parquet")]
    if not paths:
        return []
    return duckdb.execute(
        "select record_number, record_part, reason from read_parquet(?) order by source_file, record_number, record_part",
        [paths],
    ).fetchall()


@cache
def compiled(variables: str) -> dict[str, str]:
    """The SQL of the staging models by name; dbt runs once a session for each set of variables.

    It sees no other models: they take seconds to parse, and staging leans on none of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for part in ("models/staging", "macros", "tests/dbt/generic"):
            shutil.copytree(PROJECT / part, project / part)
        for name in ("dbt_project.yml", "profiles.yml"):
            shutil.copy(PROJECT / name, project)
        command = [
            sys.executable, "-c", "from dbt.cli.main import cli; cli()", "--quiet", "compile",
            "--project-dir", folder, "--profiles-dir", folder, "--log-path", folder, "--vars", variables,
        ]  # fmt: skip
        environment = {**os.environ, "BOUNCEHOUSE_WORK_DATABASE": str(project / "work.duckdb")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.stem: path.read_text() for path in (project / "target/compiled").rglob("stg_*.sql")}
