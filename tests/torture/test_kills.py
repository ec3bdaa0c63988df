"""A run that is killed, anywhere and more than once, is finished by the next as if nothing had happened.

`make torture` kills some hundred runs of several kinds (TORTURE_KILLS, TORTURE_SEED to repeat a failure), `make test`
a dozen.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flows.exports.exporting import export_all
from flows.failpoints import NAMES
from tests.conftest import PARTIAL_PARSE, Logs, Warehouse
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

KILLS = int(os.environ.get("TORTURE_KILLS", "200"))
SEED = int(os.environ.get("TORTURE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)

READER = """
import json, sys, time
from pathlib import Path
from tests.torture.homes import read_state
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


@pytest.mark.long
@pytest.mark.xdist_group("invariants")
def test_a_dozen_kills_of_the_first_run(tmp_path: Path, api: dict[str, str], logs: Logs, generated: Warehouse) -> None:
    """Invariant 3, on a home that has nothing yet: readers find nothing or the end."""
    home = tmp_path / "home"
    # what dbt parsed of the project serves any home, and would take most of the time
    (home / "state" / "dbt").mkdir(parents=True)
    shutil.copy(generated.settings.dbt_target / PARTIAL_PARSE, home / "state" / "dbt")
    (home / "inbox").symlink_to(logs.folder)
    export_all(generated.settings)
    exports = read_exports(generated.settings.exports)
    truth = Truth(None, read_state(generated.database), {}, exports, generated.database)
    kills = [
        Kill("lock.taken", is_group=False),
        Kill("landing.written", 4),
        Kill("landing.rejects_named", 2),
        Kill("landing.records_named", 5, is_group=False),
        Kill("landing.recorded", 6),
        Kill("landing.seen_written"),
        Kill("pair.announced"),
        Kill("pair.written", is_group=False),
        Kill("build.node", 40),
        Kill("build.node", 130, is_group=False),
        Kill("pair.written", 2),
        Kill("publish.copied"),
        Kill("publish.made", 3),
        Kill("publish.written"),
        Kill("publish.renamed"),
        Kill("export.written", 5),
        Kill("export.renamed", 9),
    ]
    for kill in kills:
        is_dbt_alone = kill.failpoint == "build.node" and not kill.is_group
        assert run_and_kill(home, kill) == ("survived" if is_dbt_alone else "killed"), kill
        is_published = kill.failpoint == "publish.renamed" or kill.failpoint.startswith("export")
        assert truth.check_reader(home) == ("new" if is_published else "old"), kill
    code, _, said = run(home, "run")
    assert (code, said) == (0, "")
    truth.check_end(home)


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
    code = "".join(path.read_text() for path in (Path(__file__).parents[2] / "flows").rglob("*.py"))
    assert sorted(re.findall(r'failpoint\("([\w.]+)"\)', code)) == sorted(NAMES)
