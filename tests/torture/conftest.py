"""Homes before and after an unbroken run, and a Prefect server that all runs share, for the tests of this folder."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flows.generate import generate
from flows.settings import Settings
from tests.conftest import PARTIAL_PARSE, give_parsed
from tests.test_invariants import deal_out
from tests.torture.homes import Truth, copy_home, read_exports, read_state, run

ACTION = '{{"action_id": "{0}", "action": "{1}", "at": "2026-03-0{2}T12:00:00+00:00", "address": "{3}", "by": "eve", "reason": "t"}}\n'


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server that all runs of this module share: starting one takes longer than what is tested."""
    script = (
        "import sys; from pathlib import Path; from flows.settings import Settings;"
        "from flows.prefect_server import set_environment, use_server\n"
        "settings = Settings(home=Path(sys.argv[1])); set_environment(settings, verbose=False)\n"
        "with use_server(settings) as address: print(address, flush=True); sys.stdin.read()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path_factory.mktemp("server")],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address
        before = os.environ.get("PREFECT_API_URL")
        os.environ["PREFECT_API_URL"] = address
        yield {"PREFECT_API_URL": address}
        if before is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = before
        process.communicate()


@pytest.fixture(scope="session")
def truths(tmp_path_factory: pytest.TempPathFactory, api: dict[str, str]) -> dict[str, tuple[Path, Truth, float]]:
    """By kind of run: a home before it, what an unbroken run makes of it, and how long that takes.

    `first` has nothing; `daily` has a day, and the second in its inbox; `rebuild` begins a full refresh of it.
    """
    folder = tmp_path_factory.mktemp("truths")
    generate(folder / "logs", messages=30, days=2, first_day=date(2026, 3, 2), seed=7, bad_records=True)
    days = [folder / "day-0", folder / "day-1"]
    deal_out(folder / "logs", days, random.Random(7))
    base = folder / "base"
    shutil.copytree(days[0], base / "inbox")
    actions = base / "actions" / "2026-03.jsonl"
    actions.parent.mkdir()
    actions.write_text(
        ACTION.format("a1", "add", 2, "ann@brand.example") + ACTION.format("a2", "add", 2, "b@c.example")
    )
    found: dict[str, tuple[Path, Truth, float]] = {}
    give_parsed(Settings(home=base))
    first = copy_home(base, folder / "first")
    code, _, said = run(base, "run")
    assert code == 0, said
    before, exports_before = read_state(base / "bouncehouse.duckdb"), read_exports(base / "exports")
    for name in ("first", "daily"):
        home = first if name == "first" else copy_home(base, folder / "daily")
        shutil.copytree(days[1], home / "inbox", dirs_exist_ok=True)
        with (home / "actions" / "2026-03.jsonl").open("a") as file:
            file.write(ACTION.format("a3", "remove", 3, "ann@brand.example"))
        if name == "first":
            (home / "state" / "dbt").mkdir(parents=True, exist_ok=True)
            shutil.copy(base / "state" / "dbt" / PARTIAL_PARSE, home / "state" / "dbt")
        unbroken = copy_home(home, folder / f"{name}-unbroken")
        started = time.monotonic()
        code, _, said = run(unbroken, "run")
        assert code == 0, said
        seconds = time.monotonic() - started
        database = unbroken / "bouncehouse.duckdb"
        truth = Truth(
            before if name == "daily" else None,
            read_state(database),
            exports_before if name == "daily" else {},
            read_exports(unbroken / "exports"),
            database,
        )
        found[name] = (home, truth, seconds)
    assert found["first"][1].exports_after == found["daily"][1].exports_after
    found["rebuild"] = found["daily"]
    return found
