"""dbt in processes of its own: in-process dbt would keep the databases locked.

To import dbt takes longer than to run it over a small day. So there is one process that has it imported
(`flows/dbt_child.py`) for as long as this one lives, begun before it is needed where that is known (`warm_dbt`), and a
fork of it for each run of dbt.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from select import select
from typing import Any

from flows.dbt_project import find_project_directory

RESULTS_NAME, PROGRESS_NAME, LOG_NAME, SAID_NAME = "results.json", "progress", "dbt.log", "said.txt"
"""In dbt's target folder: what it gave; while it runs, how many nodes are through, and of how many; its log; what it
printed."""

LOOK_SECONDS = 0.25
"""How often it is looked how far dbt is."""


@dataclass(frozen=True)
class DbtRun:
    """How a run of dbt ended: its exit code, negative where a signal ended it; what it printed; and what it gave, as
    flows/dbt_child.py tells, empty where it did not come to its end.
    """

    exit_code: int
    said: str
    found: dict[str, Any]


class DbtProcess:
    """A process that has dbt imported, or is about to, and runs it in forks of itself, one at a time.

    `target`, a folder that dbt wrote into before, lets it make ready what reading a parsed project takes.
    """

    def __init__(self, target: Path | None = None) -> None:
        answers, theirs = os.pipe()
        self.answers = os.fdopen(answers, "rb")
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        # its standard input stays open as long as we live: see flows/child.py
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.dbt_child", str(theirs), *([str(target)] if target else [])],
            pass_fds=[theirs], stdin=subprocess.PIPE, stdout=self.said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(theirs)
        self.owner = os.getpid()
        self.lock = threading.Lock()
        atexit.register(self.close)

    @property
    def is_usable(self) -> bool:
        """Whether it lives, and is ours: a fork of us has its own."""
        return self.owner == os.getpid() and self.process.poll() is None

    def run(
        self,
        arguments: list[str],
        *,
        target: Path,
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> DbtRun:
        """Run dbt on the project with the arguments, with variables added to our environment; `target` is its folder
        for all it writes. `on_progress` is told of nodes that are through, and how many there are.
        """
        target.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS_NAME, PROGRESS_NAME, SAID_NAME):
            (target / name).unlink(missing_ok=True)
        project, target = str(find_project_directory()), target.absolute()
        places = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(target)]
        silence = ["--no-write-json", "--log-level", "none", "--log-level-file", "none", "--log-path", str(target)]
        variables = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1", **(environment or {})}
        request = {
            "arguments": [*arguments, *places, *silence],
            "target": str(target),
            "environment": {**os.environ, **variables},
            "directory": str(Path.cwd()),
        }
        with self.lock:
            exit_code = self._ask(request, partial(_tell_progress, target, on_progress) if on_progress else None)
        said = target / SAID_NAME if (target / SAID_NAME).exists() else None
        return DbtRun(exit_code, said.read_text(errors="replace") if said else self._read_said(), read_results(target))

    def _ask(self, request: dict[str, Any], look: Callable[[], object] | None) -> int:
        assert self.process.stdin
        try:
            with suppress(BrokenPipeError):
                self.process.stdin.write(json.dumps(request).encode() + b"\n")
                self.process.stdin.flush()
            while not select([self.answers], [], [], LOOK_SECONDS)[0]:
                if look:
                    look()
            answer = self.answers.readline()
        except BaseException:
            self.process.kill()
            self.answers.read()  # to the end: what it ran ends with it, and lets go of the databases
            raise
        # without an answer it ended itself, and its fork with it
        return int(answer) if answer else self.process.wait()

    def _read_said(self) -> str:
        self.said.seek(0)
        return self.said.read().decode(errors="replace")

    def close(self) -> None:
        """End it, and wait for that."""
        atexit.unregister(self.close)
        if self.owner == os.getpid():
            self.process.communicate()
        self.answers.close()
        self.said.close()


def _tell_progress(target: Path, on_progress: Callable[[int, int], object]) -> None:
    with suppress(OSError, ValueError):
        done, total = (target / PROGRESS_NAME).read_text(encoding="ascii").split()
        on_progress(int(done), int(total))


def read_results(target: Path) -> dict[str, Any]:
    """What the last run of dbt in that target folder gave, as flows/dbt_child.py tells; empty where it gave nothing."""
    try:
        found = json.loads((target / RESULTS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


_process: DbtProcess | None = None
_making = threading.Lock()


def warm_dbt(target: Path | None = None) -> DbtProcess:
    """The process of ours that has dbt imported; gives it at once, though it may still be about to.

    Where there is none yet, `target` is what it makes itself ready with.
    """
    global _process
    with _making:
        if _process is None or not _process.is_usable:
            _process = DbtProcess(target)
        return _process


def end_dbt() -> None:
    """End that process, if there is one: what it used is then counted as a child's of ours."""
    global _process
    with _making:
        if _process is not None:
            _process.close()
            _process = None
