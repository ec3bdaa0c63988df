"""A run that is killed, anywhere and more than once, is finished by the next as if nothing had happened.

`make torture` kills some hundred runs of several kinds (TORTURE_KILLS, TORTURE_SEED to repeat a failure), `make test`
a dozen.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.failpoints import NAMES
from flows.generate import generate
from tests.conftest import Logs, Warehouse
from tests.test_invariants import deal_out
from tests.torture.homes import (
    Kill,
    Truth,
    copy_home,
    plan_kills,
    read_exports,
    read_state,
    run,
    run_and_kill,
)

from datetime import date  # isort: skip

KILLS = int(os.environ.get("TORTURE_KILLS", "200"))
SEED = int(os.environ.get("TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
ACTION = '{{"action_id": "{0}", "action": "{1}", "at": "2026-03-0{2}T12:00:00+00:00", "address": "{3}", "by": "eve", "reason": "t"}}\n'

READER = """
import sys, time
from pathlib import Path
from tests.torture.homes import read_state
import json
database, stop = Path(sys.argv[1]), Path(sys.argv[2])
seen, looks = [], 0
while not stop.exists():
    if database.exists():
        state = read_state(database)
        looks += 1
        if state not in seen:
            seen.append(state)
    time.sleep(0.05)
print(json.dumps([looks, seen]))
"""


@pytest.fixture(scope="module")
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


@pytest.mark.xdist_group("invariants")
def test_a_dozen_kills_of_the_first_run(tmp_path: Path, api: dict[str, str], logs: Logs, generated: Warehouse) -> None:
    """Invariant 3, on a home that has nothing yet: readers find nothing or the end."""
    home = tmp_path / "home"
    # what dbt parsed of the project serves any home, and would take most of the time
    (home / "state" / "dbt").mkdir(parents=True)
    shutil.copy(generated.settings.state / "dbt" / "partial_parse.msgpack", home / "state" / "dbt")
    (home / "inbox").symlink_to(logs.folder)
    after = read_state(generated.database)
    truth = Truth(None, after, {}, {}, generated.database)
    kills = [
        Kill("lock.taken", is_group=False),
        Kill("landing.written", 4),
        Kill("landing.rejects_named", 2),
        Kill("landing.records_named", 5, is_group=False),
        Kill("landing.recorded", 6),
        Kill("landing.seen_written"),
        Kill("build.node", 60),
        Kill("build.node", 200, is_group=False),
        Kill("build.finishing"),
        Kill("publish.copied", 9),
        Kill("publish.written"),
        Kill("publish.renamed"),
        Kill("export.written", 5),
        Kill("export.renamed", 9),
    ]
    ends = {}
    for kill in kills:
        ends[kill] = run_and_kill(home, kill)
        assert ends[kill] == ("survived" if (kill.failpoint, kill.is_group) == ("build.node", False) else "killed")
        is_renamed = kill.failpoint == "publish.renamed" or kill.failpoint.startswith("export")
        truth_then = truth if not is_renamed else Truth(after, after, {}, read_any(home), generated.database)
        assert truth_then.check_reader(home) == ("new" if is_renamed else "old")
    code, _, said = run(home, "run")
    assert (code, said) == (0, ""), said
    Truth(None, after, {}, read_exports(home / "exports"), generated.database).check_end(home)
    assert len(read_exports(home / "exports")) == 16


def read_any(home: Path) -> dict[str, str]:
    return read_exports(home / "exports")


@pytest.fixture(scope="module")
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
            (home / "state" / "dbt").mkdir(parents=True)
            shutil.copy(base / "state" / "dbt" / "partial_parse.msgpack", home / "state" / "dbt")
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


@pytest.mark.torture
def test_hundreds_of_kills(tmp_path: Path, truths: dict[str, tuple[Path, Truth, float]]) -> None:
    """Invariant 3 at length. A reader looks after each kill, and in every third home all the time."""
    print(f"\nTORTURE_SEED={SEED} TORTURE_KILLS={KILLS}")
    ends: Counter[str] = Counter()
    points: Counter[str] = Counter()
    looks = 0
    chain = 0
    while ends["killed"] + ends["survived"] < KILLS:
        generator = random.Random(f"{SEED}/{chain}")
        kind = generator.choice(["first", "daily", "daily", "daily", "rebuild"])
        base, truth, seconds = truths[kind]
        home = copy_home(base, tmp_path / "home")
        stop = tmp_path / "stop"
        stop.unlink(missing_ok=True)
        reader = None
        if chain % 3 == 0:
            reader = subprocess.Popen(
                [sys.executable, "-c", READER, str(home / "bouncehouse.duckdb"), str(stop)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        done, is_through = [], False
        try:
            for kill in plan_kills(generator, seconds, is_rebuilt=kind != "daily"):
                if is_through and not kill.is_come_to_by_any_run:
                    continue
                arguments = ["--full-refresh"] if kind == "rebuild" and len(done) < 3 else []
                became = run_and_kill(home, kill, *arguments)
                is_through |= became == "too late"
                done.append(f"{kill} {became}")
                ends[became] += 1
                points[kill.failpoint or "at a random time"] += became != "too late"
                done.append(truth.check_reader(home))
            code, _, said = run(home, "run")
            assert code == 0, said
            truth.check_end(home)
        except BaseException as error:
            error.add_note(f"TORTURE_SEED={SEED}, chain {chain} ({kind}): {'; '.join(done)}; the home is {home}")
            raise
        finally:
            stop.touch()
            if reader:
                out, _ = reader.communicate(timeout=60)
        if reader:
            import json

            assert reader.returncode == 0, "a reader met a file that it could not read"
            count, seen = json.loads(out)
            looks += count
            allowed = [json.loads(json.dumps(state)) for state in (truth.before, truth.after)]
            assert all(state in allowed for state in seen), f"a reader saw a state in between (chain {chain})"
        chain += 1
        print(f"chain {chain} ({kind}): {dict(ends)}, {looks} looks; {'; '.join(done)}", flush=True)
    print(f"{dict(ends)} in {chain} homes; {looks} looks of readers meanwhile; by place: {dict(points)}")


def test_failpoints_are_named_once_and_used() -> None:
    """Each name of the list stands in the code, and each in the code on the list."""
    import re

    code = "".join(path.read_text() for path in (Path(__file__).parents[2] / "flows").rglob("*.py"))
    assert sorted(re.findall(r'failpoint\("([\w.]+)"\)', code)) == sorted(NAMES)
