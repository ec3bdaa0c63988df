"""A whole run over the worst: malformed files, odd values and names, text that wants to act, addresses that stay secret."""

import json
import os
import random
import re
import socket
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import openpyxl
import pytest

from flows.settings import Settings
from tests.conftest import give_parsed
from tests.exports.hostile import HOSTILE, read_csv
from tests.landing.corpus import CASES, LARGE, event
from tests.landing.mutants import good_contents, mutate
from tests.marts import read

ROOT = Path(__file__).parent.parent
KEY = "planted-key-0123456789abcdef"
PLANTED = "planted.person"
"""Begins every address that may not get into a log."""

WORST = [case for case in CASES if case not in LARGE and case.source != "actions"]

NAMES = [
    b"-rf", b"--help", b"[a]*.json", b"{a,b}.json", b"a b\tc.json", b"new\nline.json", b"\x1b[31mred\x1b]0;x\x07.json",
    b"caf\xe9.json", "\u202egnp.json".encode(), b"'; drop table x; --.json", b'"quoted".json', b"$(id)`id`.json",
    b"%s%n%00.json", b"=1+1.json", b"<script>.json", b"x" * 250 + b".json", b"~", b"a\\b.json", b"con.json", b"*",
]  # fmt: skip
"""Names of good files in the inbox."""

SPREADSHEET_LIMITS = ["x" * 40_000, "\U0001f600" * 20_000, "=" * 33_000]


@dataclass(frozen=True)
class Ran:
    home: Path
    inbox: Path
    environment: dict[str, str]
    result: subprocess.CompletedProcess

    @property
    def database(self) -> Path:
        return self.home / "bouncehouse.duckdb"

    def command(self, *arguments: object) -> str:
        """What a command says, standard error and all."""
        ran = run_command(*arguments, environment=self.environment)
        assert ran.returncode == 0, ran.stderr
        return (ran.stdout + ran.stderr).decode()


def run_command(*arguments: object, environment: dict[str, str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)],
        # without the server that tests of this worker may share: what it keeps would not lie in this home
        env={
            **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        timeout=900,
        **options,
    )


def hostile_events() -> Iterator[bytes]:
    """Bounces whose every text is hostile, and some with values that are odd but allowed."""
    number = 0
    for text in [*HOSTILE, *SPREADSHEET_LIMITS]:
        for event_type, code in (("bounced", "550"), ("deferred", "451")):
            number += 1
            clean = text.replace("\0", "")
            yield line(
                event(
                    event_type=event_type, smtp_code=code, message_id=f"<{clean[:200]}{number}>",
                    recipient=f"{PLANTED}{number}@mail.example", response_text=f"{clean}", campaign_id=clean,
                    from_domain=clean[:300], sending_ip=clean[:300], mx_host=clean[:300], envelope_sender=clean[:300],
                    native_class=clean[:300], enhanced_code="5.1.1", attempt_number="999999999",
                )
            )  # fmt: skip
    for recipient in ("=cmd|'/C calc'!A0@mail.example", "+1@mail.example", "<b>@mail.example", "\u202ea@mail.example"):
        yield line(event(recipient=recipient, message_id="r", response_text="550 5.1.1 no such user"))
    for value in (0, -1, 10**30, 1e308, True, [], {}, [1], "NaN", "\u0000"):
        yield line(event(message_id=value, attempt_number=None, enhanced_code=value, response_text=value))
    # what must not land, and name nobody where it is told
    yield line(event(event_type=f"{PLANTED}.a@mail.example"))
    yield line(event(recipient=f"{PLANTED}.b@mail.example", event_at="0001-01-01"))
    yield b'{"recipient": "' + PLANTED.encode() + b'.c@mail.example", \n'


def line(record: dict) -> bytes:
    return json.dumps(record).encode() + b"\n"


def fill(inbox: Path, contents: dict[str, list[bytes]]) -> None:
    for number, case in enumerate(WORST):
        put(inbox / case.source / f"worst-{number}.log", case.make())
    put(inbox / "events" / "hostile.jsonl", b"".join(hostile_events()))
    for number, name in enumerate(NAMES):
        put(Path(os.fsdecode(os.fsencode(inbox / "events") + b"/" + name)), line(event(message_id=f"named {number}")))
    put(inbox / "kumomta" / "list.csv", f"{PLANTED}.d@mail.example,a\n".encode())
    for source in (
        "kumomta",
        "powermta",
        "postfix",
        "exim",
        "ses",
        "sendgrid",
        "mailgun",
        "sparkpost",
        "postmark",
        "dsn",
    ):
        for number, content in enumerate(contents[source][:2]):
            put(inbox / source / f"good-{number}.log", content)
        for number in range(12):
            put(
                inbox / source / f"spoilt-{number}.log",
                mutate(random.Random(f"{source} {number}"), contents[source], "")[1],
            )
    folder = inbox / "postfix"
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "round").symlink_to(folder)
    (folder / "gone").symlink_to("nowhere")
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may have 107 bytes only
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("worst")
    home = folder / 'it\'s a "home"; drop table x --'
    fill(folder / "inbox", good_contents(folder / "good"))
    give_parsed(Settings(home=home))
    environment = {"BOUNCEHOUSE_EXPORT_KEY": KEY, "COLUMNS": "200"}
    result = run_command("run", "--home", home, "--inbox", folder / "inbox", environment=environment)
    return Ran(home, folder / "inbox", environment, result)


pytestmark = pytest.mark.xdist_group("hostile")


def acting(text: str) -> set[str]:
    """Characters that could act on a terminal."""
    return {each for each in text if each != "\n" and unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"}}


def test_the_worst_is_published_and_accounted_for(ran: Ran) -> None:
    assert ran.result.returncode == 0, ran.result.stderr.decode()
    rows = read(
        ran.database,
        """select source_file, event_record_count, ignored_record_count, records_rejected from marts.ops_loads
        where source_file like '%/worst-%'""",
    )
    found = {name: tuple(counts) for name, *counts in rows}
    expected = {
        f"{case.source}/worst-{number}.log": (case.events, case.ignored, len(case.rejects))
        for number, case in enumerate(WORST)
    }
    assert found == expected
    (wrong,) = read(
        ran.database,
        """select count(*) from marts.ops_loads
        where records_read <> records_landed + records_rejected
            or records_landed <> event_record_count + ignored_record_count""",
    )
    assert wrong == (0,)
    assert read(
        ran.database, "select count(*) from marts.ops_loads where source_name = 'events' and message is null"
    ) >= [(len(NAMES),)]


def test_what_is_no_file_is_named_and_stops_nothing(ran: Ran) -> None:
    said = ran.result.stderr.decode()
    for name in ("pipe", "loop", "gone", "passwd", "null", "socket"):
        assert f"postfix/{name}: " in said
    assert "cut short: " in said


def test_nothing_acts_on_the_terminal(ran: Ran) -> None:
    for text in (
        ran.result.stdout.decode() + ran.result.stderr.decode(),
        ran.command("status", "--home", ran.home, "--inbox", ran.inbox),
        ran.command("report", "--home", ran.home, "--class", "all"),
        ran.command("report", "--home", ran.home, "--undeliveries", "--group-by", "sending_ip"),
        ran.command("suppression", "list", "--home", ran.home),
        ran.command("suppression", "why", f"{PLANTED}17@mail.example", "--home", ran.home),
    ):
        assert acting(text) == set()
    for arguments in (
        ["report", "\x1b[31m\u202e"],
        ["suppression", "check", "\x1b[31m\nno such file"],
        ["\x1b]0;x\x07"],
    ):
        failed = run_command(*arguments, environment=ran.environment)
        assert failed.returncode in (1, 2)
        assert acting(failed.stderr.decode()) == set()
        assert len(failed.stderr.decode().splitlines()) == 2


def test_addresses_and_keys_stay_out_of_what_is_kept_as_a_log(ran: Ran) -> None:
    assert PLANTED not in ran.result.stdout.decode() + ran.result.stderr.decode()
    state = ran.home / "state"
    for path in [path for path in state.rglob("*") if path.is_file() and not path.name.endswith((".db", ".db-wal"))]:
        content = path.read_bytes()
        assert PLANTED.encode() not in content, path
        assert KEY.encode() not in content, path
    with sqlite3.connect(next(state.rglob("prefect.db"))) as prefect:
        kept = {
            table: str(prefect.execute(f"select * from {table}").fetchall())
            for table in ("log", "artifact", "flow_run")
        }
    assert "landed" in kept["log"]
    for text in kept.values():
        assert PLANTED not in text
        assert KEY not in text


def test_exports_hold_hostile_text_as_text(ran: Ran) -> None:
    for path in ran.home.glob("exports/*.csv"):
        header, *rows = read_csv(path.read_bytes())
        assert rows
        for row in rows:
            cells = [cell for name, cell in zip(header, row, strict=True) if name != "address"]
            assert not [cell for cell in cells if re.match(r"[\s\u200b\ufeff\u00a0]*[=+@\uff1d\uff0b\uff20]", cell)]
    for path in ran.home.glob("exports/*.xlsx"):
        for sheet in openpyxl.load_workbook(path).worksheets:
            for line in sheet.iter_rows():
                for cell in line:
                    assert cell.data_type != "f"
                    assert cell.hyperlink is None
                    assert len(str(cell.value or "").encode("utf-16-le")) // 2 <= 32_767


def test_lists_have_a_profile_for_spreadsheets_and_one_for_machines(ran: Ran, tmp_path: Path) -> None:
    found = {}
    for profile in ("--excel-safe", "--plain"):
        ran.command("suppression", "export", tmp_path / f"{profile}.csv", profile, "--home", ran.home)
        header, *rows = read_csv((tmp_path / f"{profile}.csv").read_bytes())
        found[profile] = {row[header.index("address")] for row in rows}
    assert "+1@mail.example" in found["--plain"]
    assert "'+1@mail.example" in found["--excel-safe"]
    assert not [address for address in found["--excel-safe"] if address.startswith(("=", "+", "-", "@"))]


def test_nothing_of_a_log_has_become_a_path(ran: Ran) -> None:
    """What lies in the home is what the project names itself."""
    names = {path.name for path in ran.home.iterdir()}
    assert names <= {
        "actions", "bouncehouse.duckdb", "exports", "landing", "rejects", "state", "work.duckdb", ".lock", "work.duckdb.wal",
        "marts.duckdb", "marts.duckdb.wal",
    }  # fmt: skip
    for path in [*ran.home.glob("landing/*/*"), *ran.home.glob("rejects/*/*")]:
        assert re.fullmatch(r"(pack-)?[0-9a-f]{64}\.(json|parquet)", path.name)


@pytest.mark.torture
def test_a_failing_build_names_step_and_test_and_masks_the_rows(ran: Ran) -> None:
    """An event that a hand has put on a record makes a data test fail, and its rows hold an address."""
    with duckdb.connect(ran.home / "work.duckdb") as connection:
        connection.execute("drop view if exists landing.events")
    load = next(path for path in (ran.home / "landing" / "events").glob("*.json") if "hostile" in path.read_text())
    written = load.read_text()
    put(ran.inbox / "events" / "one-more.jsonl", line(event(message_id="one more")))
    load.write_text(written.replace('"records_read": ', '"records_read": 1', 1))
    (ran.home / "work.duckdb").unlink()
    before = ran.database.read_bytes()
    failed = run_command("run", "--home", ran.home, "--inbox", ran.inbox, environment=ran.environment)
    load.write_text(written)
    cause, remedy = [text for text in failed.stderr.decode().splitlines() if text.startswith(("bouncehouse: ", "-> "))]
    assert failed.returncode == 1
    assert cause.startswith("bouncehouse: build: ")
    assert "assert_records_read_are_landed_or_rejected" in cause
    assert "--verbose" in remedy
    assert PLANTED not in failed.stderr.decode()
    assert ran.database.read_bytes() == before
    with sqlite3.connect(next(ran.home.rglob("prefect.db"))) as prefect:
        (artifact,) = prefect.execute("select data from artifact where key = 'failure'").fetchone()
        (state,) = prefect.execute("select state_name || ' ' || state from flow_run order by created desc").fetchone()
    assert "The step **build** failed" in artifact
    assert "records&#95;read &#61; 1" in artifact
    assert "build: " in str(state) or "Failed" in str(state)
