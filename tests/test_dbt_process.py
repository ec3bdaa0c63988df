"""The process that has dbt imported: what it tells of its forks, and that none of them outlives whoever waits for it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import dbt_process
from flows.build import find_variables
from flows.dbt_process import DbtProcess, DbtRun, end_dbt, warm_dbt
from flows.settings import Settings
from flows.work_state import find_versions
from tests.conftest import PARTIAL_PARSE

WAIT_SECONDS = 60
QUICK = ["parse", "--no-such-option"]
"""What dbt refuses at once."""
SLOW = ["parse", "--no-partial-parse"]


@pytest.fixture
def process() -> Iterator[DbtProcess]:
    process = DbtProcess()
    yield process
    process.close()


def await_forks(pid: int) -> list[int]:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = find_children(pid)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it does not fork")


def find_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_apart(process: DbtProcess, target: Path, told: list[object]) -> threading.Thread:
    thread = threading.Thread(target=lambda: told.append(process.run(SLOW, target=target)))
    thread.start()
    return thread


def test_it_serves_one_run_after_the_other_and_tells_what_dbt_says(process, tmp_path, monkeypatch):
    first = process.run(QUICK, target=tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    second = process.run(QUICK, target=Path("second"))
    assert [first.exit_code, second.exit_code] == [0, 0]
    assert first.found == second.found
    assert "--no-such-option" in first.found["error"]
    assert (tmp_path / "second" / "results.json").exists()


COMPILES = """
import json, os, sys
from pathlib import Path
from dbt_common.clients.jinja import MacroFuzzEnvironment
from flows import dbt_child, dbt_templates
from flows.dbt_project import find_project_directory

compiled = []
parse = MacroFuzzEnvironment._parse
MacroFuzzEnvironment._parse = lambda self, source, *more: compiled.append(source) or parse(self, source, *more)
target, is_ready = Path(sys.argv[1]), sys.argv[2] == "ready"
dbt_templates.keep_compiled()
if is_ready:
    for _ in dbt_templates.compile_templates(dbt_child._read_manifest(target)):
        pass
before = len(compiled)
project = str(find_project_directory())
places = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(target), "--log-path", str(target)]
dbt_child.main(target, ["compile", "--no-write-json", "--vars", sys.argv[3], *places])
assert [each["code"] for each in json.loads((target / "results.json").read_text())["results"]]
print(json.dumps([len(compiled) - before, len(set(compiled[before:]) & set(compiled[:before]))]))
"""


def test_templates_that_were_compiled_while_nobody_asked_are_not_compiled_by_runs(warehouse, tmp_path):
    home = shutil.copytree(warehouse.settings.root, tmp_path / "home")
    settings = Settings(home=home)
    variables = json.dumps(find_variables(settings, find_versions(settings)))
    environment = {**os.environ, "BOUNCEHOUSE_WORK_DATABASE": str(settings.work_database)}
    counts = {}
    for way in ("ready", "not ready"):
        run = subprocess.run(
            [sys.executable, "-c", COMPILES, settings.dbt_target, way, variables],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        counts[way], again = json.loads(run.stdout.splitlines()[-1])
        assert again == 0
    assert counts["ready"] < counts["not ready"] / 2


def test_what_it_cannot_make_ready_stops_nothing(tmp_path):
    (tmp_path / PARTIAL_PARSE).write_bytes(b"cut in its mid")
    process = DbtProcess(tmp_path)
    assert process.run(QUICK, target=tmp_path).exit_code == 0
    process.close()


def test_a_signal_that_ends_a_run_is_told_and_the_next_one_runs(process, tmp_path):
    told: list[DbtRun] = []
    thread = run_apart(process, tmp_path / "killed", told)
    (fork,) = await_forks(process.process.pid)
    os.kill(fork, signal.SIGKILL)
    thread.join(WAIT_SECONDS)
    assert [run.exit_code for run in told] == [-signal.SIGKILL]
    assert told[0].found == {}
    assert process.run(QUICK, target=tmp_path / "next").exit_code == 0


def test_a_run_ends_with_the_process_it_is_forked_from(process, tmp_path):
    told: list[DbtRun] = []
    thread = run_apart(process, tmp_path, told)
    forks = await_forks(process.process.pid)
    os.kill(process.process.pid, signal.SIGKILL)
    thread.join(WAIT_SECONDS)
    assert [run.exit_code for run in told] == [-signal.SIGKILL]
    await_end(forks)


def test_all_ends_with_whoever_waits(tmp_path):
    script = (
        "import sys; from pathlib import Path; from flows.dbt_process import DbtProcess\n"
        "process = DbtProcess(); print(process.process.pid, flush=True)\n"
        f"process.run({SLOW!r}, target=Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        pid = int(waiting.stdout.readline())
        forks = await_forks(pid)
        waiting.kill()
    await_end([pid, *forks])


def test_one_that_is_gone_is_replaced(monkeypatch, tmp_path):
    monkeypatch.setattr(dbt_process, "_process", None)
    first = warm_dbt()
    assert warm_dbt() is first
    first.process.kill()
    first.process.wait()
    second = warm_dbt()
    assert second is not first
    assert second.run(QUICK, target=tmp_path).exit_code == 0
    first.close()
    end_dbt()
    assert second.process.returncode == 0
    assert dbt_process._process is None


def test_of_progress_only_whole_notes_are_told(tmp_path):
    told = []
    for note in ("", "1 3", "1", "x y", "2 3"):
        (tmp_path / dbt_process.PROGRESS_NAME).write_text(note)
        dbt_process._tell_progress(tmp_path, lambda done, total: told.append((done, total)))
    (tmp_path / dbt_process.PROGRESS_NAME).unlink()
    dbt_process._tell_progress(tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3)]
