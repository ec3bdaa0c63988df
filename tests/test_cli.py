import csv
import io
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from flows.lock import hold_lock
from flows.settings import Settings
from tests.published_database import Bounce, NonDelivery, make_published

ROOT = Path(__file__).parent.parent


def run_command(*arguments: object, environment=None, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(environment or {})}
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=120,
        **options,
    )


@pytest.fixture
def home(tmp_path):
    make_published(
        tmp_path / "bouncehouse.duckdb",
        [Bounce(datetime(2026, 3, 5))] * 3
        + [Bounce(datetime(2026, 3, 6), from_domain=None, sending_ip=None, bounce_text="450 =greylisted")]
        + [Bounce(datetime(2026, 3, 6), bounce_class="hard", campaign_id="autumn")]
        + [Bounce(datetime(2025, 12, 31), bounce_text="450 old")],
        [NonDelivery(datetime(2026, 3, 5)), NonDelivery(datetime(2026, 3, 5), bounce_text=None, reason=None)],
    )
    return tmp_path


def test_help_lists_every_command_and_the_exit_codes_quickly():
    ran = run_command("--help")
    said = " ".join(ran.stdout.decode().split())
    assert ran.returncode == 0
    for command in ("run", "report", "suppression", "classify", "retention", "status", "serve", "generate"):
        assert f" {command} " in said
    assert "3 another run is active" in said
    script = "import sys, flows.cli; print({'prefect', 'dbt', 'duckdb', 'pyarrow', 'pydantic'} & set(sys.modules))"
    heavy = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert heavy.stdout == b"set()\n"


def test_version():
    assert run_command("--version").stdout.startswith(b"bouncehouse ")


def test_report_prints_a_table(home):
    ran = run_command("report", "--home", home)
    lines = ran.stdout.decode().splitlines()
    assert ran.returncode == 0
    assert lines[0] == "soft bounces, 2026-03-02 to 2026-03-31 (UTC), all campaigns"
    assert "from_domain" in lines[2]
    assert [line for line in lines if "news.example" in line and "451 Please try again" in line]
    assert [line for line in lines if "(not logged)" in line]
    assert lines[-1] == "4 bounces in all; 2 of 2 rows shown"


@pytest.mark.parametrize(
    ("options", "amounts"),
    [
        ([], [3, 1]),
        (["--class", "hard"], [1]),
        (["--class", "all", "--campaign", "autumn"], [1]),
        (["--group-by", "sending_ip"], [3, 1]),
        (["--from", "2026-03-06"], [1]),
        (["--from", "2025-12-31", "--to", "2025-12-31"], [1]),
        (["--undeliveries"], [1, 1]),
        (["--undeliveries", "--class", "soft"], []),
        (["--from", "2026-03-05", "--to", "2026-03-05", "--time-zone", "America/New_York"], [1]),
    ],
)
def test_report_settings_choose_the_rows_as_csv(home, options, amounts):
    ran = run_command("report", "--home", home, "--format", "csv", "--plain", *options)
    rows = list(csv.DictReader(io.StringIO(ran.stdout.decode(), newline="")))
    assert ran.returncode == 0
    assert [int(row["amount"]) for row in rows] == amounts


def test_report_csv_is_safe_unless_plain(home):
    options = ["report", "--home", home, "--format", "csv", "--from", "2026-03-06"]
    assert run_command(*options).stdout.startswith(b"\xef\xbb\xbffrom_domain,")
    assert run_command(*options, "--plain").stdout.startswith(b"from_domain,")


def test_report_writes_the_format_that_the_file_name_tells(home):
    for ending in ("csv", "xlsx", "parquet"):
        ran = run_command("report", "--home", home, "--out", home / f"out/report.{ending}")
        assert (ran.returncode, ran.stdout) == (0, b"")
    assert pq.read_table(home / "out/report.parquet").column("amount").to_pylist() == [3, 1]
    assert openpyxl.load_workbook(home / "out/report.xlsx")["Bounces by From domain"].max_row == 3
    assert (home / "out/report.csv").read_bytes().count(b"\r\n") == 3


def test_an_empty_report_has_its_header_and_says_so(home):
    ran = run_command(
        "report", "--home", home, "--format", "csv", "--plain", "--from", "2020-01-01", "--to", "2020-01-02"
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith(b"from_domain,recipient_domain,bounce_class,")
    assert ran.stdout.count(b"\r\n") == 1
    assert b"2020-01-01 to 2020-01-02" in ran.stderr
    assert b"the report is empty" in ran.stderr


@pytest.mark.parametrize("campaign", ["", "sprung", "' or 1=1 --", "\x1b[31m"])
def test_a_campaign_that_does_not_exist_is_said_to(home, campaign):
    ran = run_command("report", "--home", home, "--campaign", campaign)
    said = ran.stderr.decode()
    assert ran.returncode == 0
    assert f"no campaign is called {campaign!r}" in said
    assert "'spring', 'autumn'" in said
    assert "\x1b" not in said + ran.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "--from", "2026-03-02", "--to", "2026-03-01"], ["2026-03-02", "2026-03-01"]),
        (["report", "--from", "yesterday"], ["yesterday"]),
        (["report", "--time-zone", "Middle/Earth"], ["Middle/Earth"]),
        (["report", "--format", "xlsx"], ["--out"]),
        (["report", "--out", "report.doc"], ["report.doc"]),
        (["report", "--format", "table", "--out", "x.csv"], ["--out"]),
        (["report", "--group-by", "campaign"], ["campaign"]),
        (["explode"], ["explode"]),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(home, arguments, says):
    home_option = ["--home", str(home)] if arguments[0] != "explode" else []
    ran = run_command(*arguments, *home_option)
    said = ran.stderr.decode()
    assert ran.returncode == 2
    assert all(word in said for word in says)
    assert "Traceback" not in said


def test_before_the_first_run_the_way_is_shown(tmp_path):
    ran = run_command("report", "--home", tmp_path)
    cause, remedy = ran.stderr.decode().splitlines()
    assert ran.returncode == 1
    assert "nothing is published yet" in cause
    assert "bouncehouse run" in remedy


def test_verbose_shows_the_traceback_of_any_command_before_the_two_lines(tmp_path):
    ran = run_command("report", "--home", tmp_path, "--verbose")
    *trace, cause, remedy = ran.stderr.decode().splitlines()
    assert ran.returncode == 1
    assert trace[0].startswith("Traceback")
    assert cause.startswith("bouncehouse: nothing is published yet")
    assert remedy.startswith("-> ")


def test_csv_on_a_terminal_holds_nothing_that_acts(tmp_path):
    make_published(
        tmp_path / "bouncehouse.duckdb", [Bounce(datetime(2026, 3, 5), bounce_text="451 \x1b[31m\x9b2J\u202e later")]
    )
    leader, follower = os.openpty()
    command = [
        sys.executable,
        "-c",
        "from flows.cli import main; main()",
        "report",
        "--format",
        "csv",
        "--home",
        tmp_path,
    ]
    subprocess.run(command, cwd=ROOT, stdout=follower, stderr=subprocess.DEVNULL, check=True, timeout=120)
    os.close(follower)
    said = os.read(leader, 65536).decode()
    os.close(leader)
    assert "451 \\x1b[31m\\x9b2J\\u202e later" in said
    assert not {"\x1b", "\x9b", "\u202e"} & set(said)


def test_a_wrong_setting_in_the_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BOUNCEHOUSE_REPORT_DAYS", "many")
    ran = run_command("report", "--home", tmp_path)
    assert ran.returncode == 2
    assert b"BOUNCEHOUSE_REPORT_DAYS" in ran.stderr


def test_classify_speaks_utf_8_whatever_the_locale():
    ran = run_command("classify", "--format", "table", input="550 utilisateur \u6ce8 inconnu é\n".encode() + b"550 \xff\n",
                      environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "550 utilisateur \u6ce8 inconnu é" in ran.stdout.decode()
    assert "550 \ufffd" in ran.stdout.decode()


@pytest.mark.parametrize("lines", [1, 300_000])
def test_classify_is_quiet_when_nobody_reads_on(tmp_path, lines):
    (tmp_path / "replies").write_text("550 5.1.1 user unknown\n" * lines)
    script = f"'{sys.executable}' -c 'from flows.cli import main; main()' classify '{tmp_path / 'replies'}' | true"
    ran = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ran.stderr == b""


def test_classify_names_the_file_it_cannot_read(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        ran = run_command("classify", path)
        cause, remedy = ran.stderr.decode().splitlines()
        assert ran.returncode == 2
        assert str(path) in cause
        assert remedy.startswith("-> ")


def test_status_works_before_and_after_publishing(home):
    (home / "inbox/kumomta").mkdir(parents=True)
    (home / "inbox/kumomta/20260301-000000").write_text("{}\n")
    found = json.loads(run_command("status", "--home", home, "--json").stdout)
    assert found["published"]["rule_set_version"] == "abc123"
    assert found["files_in_inbox_not_landed"] == 1
    assert found["landed_not_published"] == 0
    assert found["active_run"] is None
    (source,) = found["sources"]
    assert (source["source_name"], source["waiting_files"], source["files"]) == ("kumomta", 1, 2)
    assert (source["rejected_files"], source["incomplete_files"]) == (1, 1)
    assert source["data_through_at"] == "2026-03-31T23:59:00Z"
    with hold_lock(Settings(home=home)):
        said = run_command("status", "--home", home).stdout.decode()
    assert "2026-04-01 06:00:00 UTC" in said
    assert "Accounted  12 records read, 10 different events; 0 unaccounted for" in said
    assert "Restated   6 figures of 2 days that were published before: marts.ops_restatements" in said
    assert "1 files to be landed" in said
    assert f"pid {os.getpid()}" in said


def test_status_of_an_empty_home(tmp_path):
    ran = run_command("status", "--home", tmp_path / "new")
    assert ran.returncode == 0
    assert b"nothing yet" in ran.stdout
    assert not (tmp_path / "new").exists()


def test_a_second_run_ends_at_once_and_names_the_first(tmp_path):
    with hold_lock(Settings(home=tmp_path)):
        ran = run_command("run", "--home", tmp_path)
    cause, remedy = ran.stderr.decode().splitlines()
    assert ran.returncode == 3
    assert f"pid {os.getpid()}, since 20" in cause
    assert "--wait" in remedy
    assert not (tmp_path / "state").exists()
