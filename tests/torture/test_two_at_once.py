"""Two runs, or a run and an administrator, at the same time: one after the other, and nothing of either is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import landing
from flows.settings import Settings
from flows.suppression.actions import write_action
from tests import marts
from tests.conftest import land_all
from tests.torture.homes import Truth, copy_home, end, run, start

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "6"))

WRITE = """
import sys
from pathlib import Path
from flows.settings import Settings
from flows.suppression.actions import write_action
settings = Settings(home=Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    # of many lengths, so that lines lie across the pages of the file
    write_action(settings, "add" if number % 2 else "remove", f"{sys.argv[2]}{number}@b.example", by="eve",
                 reason="r" * (number * 37 % 900 + 1))
"""


def test_actions_written_while_files_land_are_landed_once_and_whole(tmp_path: Path) -> None:
    """Two administrators at work, and landing again and again; no line is lost, cut or taken for damaged."""
    settings = Settings(home=tmp_path)
    settings.inbox.mkdir()
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, tmp_path, name, "150"]) for name in ("ann", "bob")]
    rounds = 0
    while any(writer.poll() is None for writer in writers):
        land_all(settings)
        rounds += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    land_all(settings)
    loads = landing.read_loads(settings)
    assert rounds > 5
    assert sum(load.records_rejected for load in loads) == 0
    (path,) = settings.actions.iterdir()
    written = {json.loads(line)["action_id"] for line in path.read_text().splitlines()}
    assert len(written) == 300
    landed = marts.read_parquet(settings.landing / "actions", "select distinct action_id")
    assert {action_id for (action_id,) in landed} == written


@pytest.mark.parametrize(("failpoint", "recorded"), [("actions.opened", 0), ("actions.written", 1)])
def test_a_killed_command_has_recorded_its_action_or_not(tmp_path: Path, failpoint: str, recorded: int) -> None:
    command = ["suppression", "add", "ann@b.example", "--by", "eve", "--reason", "t"]
    code, _, _ = run(tmp_path, *command, environment={"BOUNCEHOUSE_FAILPOINT": failpoint})
    assert code == -signal.SIGKILL
    (path,) = (tmp_path / "actions").iterdir()
    assert len(path.read_text().splitlines()) == recorded
    write_action(Settings(home=tmp_path), "add", "bob@b.example", by="eve", reason="t")
    assert [json.loads(line)["action"] for line in path.read_text().splitlines()] == ["add"] * (recorded + 1)


@pytest.mark.torture
def test_runs_that_start_together_run_one_at_a_time(
    tmp_path: Path, truths: dict[str, tuple[Path, Truth, float]]
) -> None:
    """Of three at once one does the work and the others end with 3 and its pid, or with --wait follow it."""
    base, truth, _ = truths["daily"]
    home = copy_home(base, tmp_path / "home")
    for number in range(ROUNDS):
        arguments = ["--wait"] if number % 2 else []
        processes = [start(home, "run", *arguments) for _ in range(3)]
        ends = [end(process) for process in processes]
        codes = [code for code, _, _ in ends]
        said = [err for _, _, err in ends]
        if arguments:
            assert codes == [0, 0, 0], said
        else:
            assert set(codes) <= {0, 3}, said
            assert 0 in codes, said
            pids = {process.pid for process in processes}
            for code, _, err in ends:
                assert code == 0 or any(f"pid {pid}, since 20" in err for pid in pids) or "just started" in err
        truth.check_end(home)


@pytest.mark.torture
def test_an_address_removed_during_a_run_is_lost_by_neither(
    tmp_path: Path, truths: dict[str, tuple[Path, Truth, float]]
) -> None:
    base, _, _ = truths["daily"]
    home = copy_home(base, tmp_path / "home")
    settings = Settings(home=home)
    given: list[str] = []
    for number in range(ROUNDS):
        process = start(home, "run")
        while process.poll() is None:
            name = f"{number}-{len(given)}@b.example"
            code, _, said = run(home, "suppression", "add", name, "--by", "eve", "--reason", "t")
            assert code == 0, said
            assert "on it since" in said
            write_action(settings, "remove", name, by="bob", reason="t")
            given.append(name)
        assert end(process)[0] == 0
    assert run(home, "run")[0] == 0
    rows = marts.read(
        home / "bouncehouse.duckdb",
        "select address, action from marts.ops_actions where acted_by in ('eve', 'bob') and address like '%-%@b.example'"
        " order by acted_at",
    )
    assert rows == [(name, action) for name in given for action in ("add", "remove")]
    assert marts.read(
        home / "bouncehouse.duckdb", "select count(*) from marts.ops_rejects where source_name = 'actions'"
    ) == [(0,)]
    print(f"{len(given)} addresses added and removed during {ROUNDS} runs")
