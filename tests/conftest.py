"""The warehouse that many tests read is built once, from samples/."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import pytest
from filelock import FileLock

from flows import build, landing, publish
from flows.dbt_process import RESULTS_NAME, read_results
from flows.exports.exposures import PARSED, find_version, parse_project
from flows.generate import generate
from flows.settings import Settings
from flows.work_state import find_versions

PROJECT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Warehouse:
    """A home that was built and published."""

    settings: Settings
    result: build.BuildResult

    @property
    def database(self) -> Path:
        return self.settings.published_database


def land_all(settings: Settings) -> list[landing.Load]:
    """Land what is new, as the flow does without Prefect, and give the new loads."""
    arrivals = landing.find_arrivals(settings)
    outcomes = landing.land_files(settings, arrivals.files)
    landing.remember(settings, zip(arrivals.files, outcomes, strict=True))
    return [outcome for outcome in outcomes if isinstance(outcome, landing.Load)]


LONGEST = (
    "invariants", "bench", "oracle", "pair", "copying", "sources", "erasure", "warehouse", "generate", "fuzz", "packs",
    "hostile", "cli", "suppression_commands", "two_lists",
)  # fmt: skip
"""Groups by how long they take, the longest first: what is begun last is waited for alone."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file are a group, unless they name another: one worker makes what they share, once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            folder = item.path.parent
            group = folder.name if folder.name == "sources" else item.path.stem.removeprefix("test_")
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    marker = item.get_closest_marker("xdist_group")
    assert marker
    return LONGEST.index(marker.args[0]) if marker.args[0] in LONGEST else len(LONGEST)


PARTIAL_PARSE = "partial_parse.msgpack"
"""How dbt calls what it parsed of a project, in its target folder."""

SHARED = Path(tempfile.gettempdir()) / f"bouncehouse-tests-{os.getuid()}-{crc32(bytes(PROJECT)):08x}"
"""Beginning of the names of what is kept from run to run of this checkout's tests: to parse takes longer than most builds."""


def find_parsed(settings: Settings) -> Path:
    """What dbt parsed of the project as it stands with a home's variables; it parses anew where one of these is another."""
    versions = find_versions(settings)
    variables = json.dumps(build.find_variables(settings, versions), sort_keys=True)
    return SHARED.with_name(f"{SHARED.name}-{versions.project}-{crc32(variables.encode()):08x}.msgpack")


def give_parsed(settings: Settings) -> None:
    """Have a home that no dbt was ever at go on from what was parsed for another."""
    parsed, kept = settings.dbt_target / PARTIAL_PARSE, find_parsed(settings)
    if kept.exists() and not parsed.exists():
        parsed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, parsed)


def write_events(settings: Settings, name: str, *events: tuple[str, str, str, str]) -> None:
    """A file of canonical events, each given as its type, time, recipient and message, with one return path for each recipient."""
    keys = ("event_type", "event_at", "recipient", "message_id")
    lines = [{**dict(zip(keys, event, strict=True)), "envelope_sender": f"b+{event[2]}"} for event in events]
    path = settings.inbox / "events" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def run_all(settings: Settings, *, full_refresh: bool = False) -> Warehouse:
    """Land, build and publish."""
    land_all(settings)
    give_parsed(settings)
    result = build.build(settings, full_refresh=full_refresh)
    parsed, kept = settings.dbt_target / PARTIAL_PARSE, find_parsed(settings)
    if not kept.exists() and parsed.exists():
        mine = kept.with_suffix(f".{os.getpid()}")
        shutil.copy(parsed, mine)
        mine.replace(kept)
    if result.is_built:
        publish.publish(settings)
    return Warehouse(settings, result)


BUILD = (
    "import sys; from flows.build import build; from flows.settings import Settings; build(Settings(home=sys.argv[1]))"
)


def kill_a_build(settings: Settings, place: str) -> None:
    """Build what has landed in a process of its own, which is killed at a place (flows/failpoints.py)."""
    killed = subprocess.run(
        [sys.executable, "-c", BUILD, settings.root],
        env={**os.environ, "BOUNCEHOUSE_FAILPOINT": place},
        capture_output=True, check=False, start_new_session=True,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr


def find_code(warehouse: Warehouse, node: str) -> str:
    """The SQL that a model or a test came to, in the last build."""
    (code,) = (
        result["code"] for result in read_results(warehouse.settings.dbt_target)["results"] if result["name"] == node
    )
    return code


Made = TypeVar("Made")


def share(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make` gives for a folder, made by the worker that asks first; the others wait for it and read it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = folder / f"{name}.made"
    with FileLock(folder / f"{name}.lock"):
        if not made.exists():
            (folder / name).mkdir(exist_ok=True)
            made.write_bytes(pickle.dumps(make(folder / name)))
        found: Made = pickle.loads(made.read_bytes())
        return found


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return share(
        tmp_path_factory, "warehouse", lambda home: run_all(Settings(home=home, inbox_directory=PROJECT / "samples"))
    )


EXPOSURES = SHARED.with_name(f"{SHARED.name}-{find_version()}.exposures.json")
"""What dbt says of the project's exposures, for homes in which nothing was built: to parse takes ten seconds."""


def give_exposures(settings: Settings) -> None:
    """Have a home that no dbt was ever at know the project's exposures."""
    with FileLock(EXPOSURES.with_suffix(".lock")):
        if not EXPOSURES.exists():
            parse_project(settings)
            mine = EXPOSURES.with_suffix(f".{os.getpid()}")
            shutil.copy(settings.dbt_target / PARSED / RESULTS_NAME, mine)
            mine.replace(EXPOSURES)
    target = settings.dbt_target / PARSED / RESULTS_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXPOSURES, target)


@dataclass(frozen=True)
class Logs:
    """Generated logs, and what a perfect reader finds in them."""

    folder: Path
    truth: Path


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Five days of logs in every format, bad records included."""
    return share(tmp_path_factory, "logs", make_logs)


def make_logs(folder: Path) -> Logs:
    truth = folder / "truth.parquet"
    generate(folder / "inbox", messages=150, days=5, first_day=date(2026, 3, 2), seed=7, bad_records=True, truth=truth)
    return Logs(folder / "inbox", truth)


@pytest.fixture(scope="session")
def generated(logs: Logs, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The warehouse of the generated logs, built at one go: what any other way must end in."""
    return share(tmp_path_factory, "generated", lambda home: run_all(Settings(home=home, inbox_directory=logs.folder)))
