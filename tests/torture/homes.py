"""What the torture tests do to a home: run the real command, kill it, look at it as a reader does, compare."""

import base64
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import openpyxl

from flows.erasure.places import PACKED
from flows.failpoints import VARIABLE
from tests import marts

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]
RUN_SECONDS = 1800
"""No run takes so long: one that does hangs."""

TIMES = {
    "landed_at", "last_landed_at", "published_at", "built_at", "build_id", "restated_at", "previous_build_id",
    "previously_published_at",
}  # fmt: skip
"""What differs from one run to another, however they came about."""


def start(home: Path, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The command on a home, in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--home", str(home)],
        env={**os.environ, "NO_COLOR": "1", **(environment or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait, and give the exit code and what was said on both outputs."""
    out, err = process.communicate(timeout=RUN_SECONDS)
    return process.returncode, out, err


def run(home: Path, *arguments: object, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    return end(start(home, *arguments, environment=environment))


def copy_home(source: Path, target: Path) -> Path:
    """A home with all it remembers; of the inbox the times too, as they are part of what is remembered."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("prefect"))
    return target


def read_state(database: Path) -> dict[str, tuple[object, ...]]:
    """Rows and a checksum of each mart, without the times of the runs; what a reader has before his eyes."""
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("set threads = 1")
        tables = connection.execute(
            "select table_name, list(column_name order by column_index) from duckdb_columns()"
            " where schema_name = 'marts' and database_name = current_database() group by 1 order by 1"
        ).fetchall()
        state = {}
        for table, columns in tables:
            chosen = ", ".join(f'"{column}"' for column in columns if column not in TIMES)
            row = connection.execute(
                f'select count(*), sum(hash(each)) from (select {chosen or "1"} from marts."{table}") as each'
            ).fetchone()
            assert row is not None
            state[table] = row
        return state


def read_exports(folder: Path) -> dict[str, str]:
    """A digest of what each exported file says. A file that is not whole raises."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or "/." in f"/{name}":
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                row = connection.execute(f"select count(*), sum(hash(each)) from '{path}' as each").fetchone()
            content = repr(row).encode()
        elif path.suffix == ".json":
            # of each run its own: when it was published, and with that the workbooks that say so
            content = re.sub(
                rb'"(made_at_utc|sha256|bytes)": .*', b"", json.dumps(json.loads(content), indent=1).encode()
            )
        elif path.suffix == ".xlsx":
            content = repr(read_workbook(path)).encode()
        elif path.suffix == ".html":
            (packed,) = PACKED.findall(content)
            content = re.sub(rb'"made_at_utc": ?"[^"]*"', b"", gzip.decompress(base64.b64decode(packed)))
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def read_workbook(path: Path) -> list[object]:
    """Every cell of every sheet, but when it was made."""
    book = openpyxl.load_workbook(path, read_only=True)
    rows = [(sheet.title, row) for sheet in book.worksheets for row in sheet.iter_rows(values_only=True)]
    book.close()
    return [row for row in rows if row[1][:1] != ("Made at (UTC)",)]


def leftovers(home: Path) -> list[str]:
    """Files that only a process at work may have beside what counts."""
    return sorted(
        str(path.relative_to(home))
        for path in home.rglob("*")
        if (path.name.endswith((".tmp", ".new", ".wal")) or path.name.startswith(".landing-"))
        and "prefect" not in path.parts
    )


@dataclass(frozen=True)
class Truth:
    """The state before a run and the one that an unbroken run ends in. `before` is None of a home without any."""

    before: dict[str, tuple[object, ...]] | None
    after: dict[str, tuple[object, ...]]
    exports_before: dict[str, str]
    exports_after: dict[str, str]
    database: Path

    def check_reader(self, home: Path) -> str:
        """`old` or `new`: what is published is one of them, whole, and so is each exported file."""
        database = home / "bouncehouse.duckdb"
        if not database.exists():
            assert self.before is None, "what was published is gone"
            return "old"
        state = read_state(database)
        assert state in (self.before, self.after), "neither the old state nor the new one is published"
        for name, digest in read_exports(home / "exports").items():
            allowed = {self.exports_before.get(name), self.exports_after.get(name)}
            assert digest in allowed, f"exports/{name} is neither the old file nor the new one"
        return "new" if state == self.after else "old"

    def check_end(self, home: Path) -> None:
        """All marts and exports are those of the unbroken run, row by row, and nothing half-written lies about."""
        database = home / "bouncehouse.duckdb"
        assert marts.differences(self.database, database, but=TIMES) == {}
        assert self.check_reader(home) == "new"
        assert read_exports(home / "exports") == self.exports_after
        assert leftovers(home) == []


@dataclass(frozen=True)
class Kill:
    """When a run is killed, and who: the failpoint, else `seconds`; the `group` with dbt, or the process alone."""

    failpoint: str = ""
    count: int = 1
    seconds: float = 0
    is_group: bool = True

    @property
    def is_come_to_by_any_run(self) -> bool:
        """Also by one that finds nothing new."""
        return not self.failpoint.startswith(("landing.re", "landing.w", "build", "pair", "publish"))

    def __str__(self) -> str:
        who = "group" if self.is_group else "process"
        return f"{self.failpoint}:{self.count} ({who})" if self.failpoint else f"after {self.seconds:.2f} s ({who})"


def run_and_kill(home: Path, kill: Kill, *arguments: object) -> str:
    """Start a run and kill it; tells `killed`, or what became of it when the kill came too late.

    Of a failpoint within dbt that kills the process alone, the run survives and reports that dbt is gone: `survived`.
    """
    scope = ":group" if kill.is_group else ""
    environment = {VARIABLE: f"{kill.failpoint}:{kill.count}{scope}"} if kill.failpoint else {}
    process = start(home, "run", *arguments, environment=environment)
    if kill.failpoint:
        code, _, said = end(process)
    else:
        deadline = time.monotonic() + kill.seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is None:
            (os.killpg if kill.is_group else os.kill)(process.pid, signal.SIGKILL)
        code, _, said = end(process)
    if code == -signal.SIGKILL:
        return "killed"
    if code == 1 and kill.failpoint == "build.node":
        assert "nothing was published" in said, said
        return "survived"
    assert code == 0, f"exit code {code} with {kill}: {said}"
    return "too late"


STAGES: tuple[tuple[tuple[str, int], ...], ...] = (
    (("lock.taken", 1),),
    (
        ("landing.written", 3),
        ("landing.rejects_named", 1),
        ("landing.records_named", 3),
        ("landing.recorded", 2),
        ("landing.seen_written", 1),
    ),
    (
        ("build.versions_forgotten", 1),
        ("pair.announced", 1),
        ("pair.written", 1),
        ("build.batch_shown", 1),
        ("build.node", 190),
    ),
    (
        ("build.dbt_ended", 1),
        ("pair.announced", 2),
        ("pair.written", 2),
        ("build.finishing", 1),
        ("build.finished", 1),
    ),
    (("publish.copied", 1), ("publish.made", 3), ("publish.written", 1), ("publish.renamed", 1)),
    (("export.written", 14), ("export.staged", 1), ("export.renamed", 14), ("export.copied", 13)),
)
"""Failpoints by the stages of a run, in its order, and up to which count it surely comes to each."""
PER_STAGE = (2, 6, 6, 1, 4, 7)
"""At most so many kills of a stage does one home go through."""


def plan_kills(generator: random.Random, seconds: float, *, is_rebuilt: bool) -> list[Kill]:
    """Kills of runs one after the other, spread over the whole of a run that takes so many seconds.

    Each at a place no earlier than the one before, as what a killed run has done the next need not do again. One in
    five is at a random time, of those that come after landing.
    """
    kills = []
    for stage, (failpoints, most) in enumerate(zip(STAGES, PER_STAGE, strict=True)):
        known = [each for each in failpoints if is_rebuilt or each[0] != "build.versions_forgotten"]
        places = sorted(generator.randrange(len(known)) for _ in range(generator.randint((most + 1) // 2, most)))
        for place in places:
            is_group = generator.random() < 0.7
            if stage > 1 and generator.random() < 0.2:
                kills.append(Kill(seconds=generator.uniform(0.3, seconds / 2 if stage < 4 else 4), is_group=is_group))
            else:
                name, often = known[place]
                # small counts more often: the early ones are come to sooner
                kills.append(Kill(name, generator.randint(1, generator.randint(1, often)), 0, is_group))
    return kills
