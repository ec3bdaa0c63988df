"""The `bouncehouse suppression` commands, as a person types them."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from flows.problems import WrongUsageError
from flows.settings import Settings
from flows.suppression.actions import check_address, write_action
from tests.suppression.published_lists import Fact, publish

ROOT = Path(__file__).parent.parent.parent
HOSTILE = "451 \x1b]0;owned\x07\x1b[31m[bold red]=1+1[/] \u202eevil\nnext"
SIGNED = ("--by", "jo", "--reason", "asked; =1")


def run_command(*arguments: object, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "suppression", *map(str, arguments)],
        env=environment, capture_output=True, timeout=120, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    facts = [
        Fact("ann@mail.example", reply=HOSTILE),
        Fact("bob@other.example", datetime(2026, 3, 4), reason="mailbox_inactive", source_name="ses"),
        Fact("wes@wish.example", list_name="global", cause="complaint", why="complaint"),
    ]
    return publish(tmp_path_factory.mktemp("published") / "bouncehouse.duckdb", facts)


@pytest.fixture
def here(published, tmp_path):
    (tmp_path / "bouncehouse.duckdb").write_bytes(published.read_bytes())
    return tmp_path


def test_list_shows_tables_csv_and_json_lines(here):
    ran = run_command("list", "--home", here, "--domain", "MAIL.example")
    assert b"ann@mail.example" in ran.stdout and b"bob@other.example" not in ran.stdout
    assert b"1 addresses" in ran.stderr
    ran = run_command("list", "--home", here, "--format", "csv", "--source", "ses")
    (row,) = csv.DictReader(io.StringIO(ran.stdout.decode(), newline=""))
    assert (row["address"], row["reason"], row["cause"]) == ("bob@other.example", "mailbox_inactive", "hard_bounce")
    ran = run_command("list", "--home", here, "--format", "jsonl", "--list", "global")
    assert json.loads(ran.stdout)["address"] == "wes@wish.example"
    ran = run_command("list", "--home", here, "--limit", "1")
    assert b"2 addresses; the first 1 are shown" in ran.stderr


def test_why_shows_hostile_replies_harmlessly(here):
    ran = run_command("why", "Ann@Mail.example", "--home", here)
    said = ran.stdout.decode()
    assert "added, suppression list" in said
    assert "response text: 451 \\x1b]0;owned\\x07\\x1b[31m[bold red]=1+1[/] \\u202eevil\\nnext" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert b"suppression list: on it since 2026-03-03 04:05:06 UTC" in ran.stderr
    assert b"global list: not on it" in ran.stderr
    assert b"has never been on a list" in run_command("why", "nobody@mail.example", "--home", here).stderr


def test_an_action_is_one_json_line_and_counts_at_once(here):
    ran = run_command("remove", " ann@mail.example ", *SIGNED, "--home", here)
    assert ran.returncode == 0
    (path,) = (here / "actions").iterdir()
    action = json.loads(path.read_text())
    assert path.name == f"{action['at'][:7]}.jsonl"
    assert datetime.fromisoformat(action["at"]).tzinfo is not None
    assert len(action.pop("action_id")) == 32
    del action["at"]
    assert action == {"action": "remove", "address": "ann@mail.example", "by": "jo", "reason": "asked; =1"}
    assert b"note:" not in ran.stderr and b"suppression list: not on it" in ran.stderr
    again = run_command("add", "bob@other.example", *SIGNED, "--home", here)
    assert b"already on the list" in again.stderr
    assert len(path.read_text().splitlines()) == 2
    run_command("add", "eve@mail.example", *SIGNED, "--list", "global", "--home", here)
    assert json.loads(path.read_text().splitlines()[2])["list"] == "global"
    why = run_command("why", "eve@mail.example", "--home", here)
    assert b"global list  (pending: the next run takes it in)" in why.stdout


def test_actions_can_be_given_before_anything_is_published(tmp_path):
    ran = run_command("add", "ann@mail.example", *SIGNED, "--home", tmp_path)
    assert ran.returncode == 0 and len(list((tmp_path / "actions").iterdir())) == 1


def test_check_reads_standard_input_and_writes_standard_output(here):
    ran = run_command(
        "check", "-", "--home", here, "--suppressed", here / "s.csv", "--invalid", here / "i.csv",
        input=b"email\r\nann@mail.example\r\neve@mail.example\r\nx\r\n",
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, b"email\r\neve@mail.example\r\n")
    assert b"3 records" in ran.stderr and b"1 suppressed (1 suppression)" in ran.stderr
    assert (here / "i.csv").read_bytes() == b"email,problem\r\nx,no @\r\n"


def test_import_then_check_then_export_then_recover(here):
    (here / "bounces.csv").write_text(
        "status,reason,email,created\n5.1.1,gone,new@mail.example,1443651125\n5.1.1,gone,oops,1\n"
    )
    ran = run_command("import", here / "bounces.csv", *SIGNED, "--home", here)
    assert b"2 entries, read as sendgrid bounces" in ran.stderr and b"1 new" in ran.stderr
    assert b"record 3: 'oops': no @" in ran.stderr
    (here / "list.csv").write_text("email\nnew@mail.example\nann@mail.example\neve@mail.example\n")
    ran = run_command("check", here / "list.csv", "--home", here)
    assert b"2 suppressed" in ran.stderr
    assert (here / "list.allowed.csv").read_text() == "email\neve@mail.example\n"
    wave = ("recover", "--from", "2026-03-03", "--until", "2026-03-04", "--home", here)
    shown = run_command(*wave)
    assert b"1 addresses leave the list" in shown.stderr and b"nothing was changed" in shown.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.stdout.decode())
    assert run_command(*wave, "--apply").returncode == 2
    assert run_command(*wave, "--apply", "--by", "jo", "--why", "outage").returncode == 0
    key = {"BOUNCEHOUSE_EXPORT_KEY": "a key that partners share"}
    ran = run_command("export", here / "out.xlsx", "--hash", "hmac-sha256", "--home", here, env=key)
    assert b"wrote 2 rows" in ran.stderr
    run_command("export", here / "out.csv", "--home", here)
    with (here / "out.csv").open(newline="") as file:
        assert [row["address"] for row in csv.DictReader(file)] == ["bob@other.example", "new@mail.example"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["remove", "ann@mail.example"], "--by"),
        (["remove", "no address", *SIGNED], "no address"),
        (["add", "ann@mail.example", "--by", " ", "--reason", "asked"], "--by"),
        (["add", "ann@mail.example\r\nBcc: x@y.example", *SIGNED], "no address"),
        (["check", "Makefile", "--column", "nine"], "'nine'"),
        (["recover", "--from", "2026-03-04", "--until", "2026-03-03"], "before it starts"),
        (["recover", "--from", "2026-03-03", "--until", "2026-03-04", "--pattern", "("], "no regular expression"),
        (["export", "x.csv", "--hash", "hmac-sha256"], "BOUNCEHOUSE_EXPORT_KEY"),
        (["export", "x.csv", "--layout", "ses", "--hash", "md5"], "ses"),
        (["list", "--list", "mine"], "mine"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(here, arguments, says):
    ran = run_command(*arguments, "--home", here, cwd=ROOT)
    assert ran.returncode == 2
    assert says in ran.stderr.decode() and "Traceback" not in ran.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["why", "a@b.example"], ["check", "Makefile"], ["export", "x.csv"], ["import", "Makefile", *SIGNED],
     ["recover", "--from", "2026-03-03", "--until", "2026-03-04"]],
)  # fmt: skip
def test_before_the_first_run_the_way_is_shown(tmp_path, arguments):
    ran = run_command(*arguments, "--home", tmp_path, cwd=ROOT)
    cause, remedy = ran.stderr.decode().splitlines()
    assert ran.returncode == 1
    assert "nothing is published yet" in cause and "bouncehouse run" in remedy


def test_a_line_cut_by_a_crash_does_not_swallow_the_next_action(tmp_path):
    settings = Settings(home=tmp_path)
    path, _ = write_action(settings, "add", "a@b.example", by="jo", reason="x")
    with path.open("a") as file:
        file.write('{"action_id": "cut off in the mid')
    write_action(settings, "remove", "a@b.example", by="jo", reason="y")
    first, cut, last = path.read_text().splitlines()
    assert json.loads(first)["action"] == "add"
    assert cut == '{"action_id": "cut off in the mid'
    assert json.loads(last)["action"] == "remove"


def test_two_administrators_at_once_lose_nothing(tmp_path):
    script = (
        "import sys; from pathlib import Path; from flows.settings import Settings\n"
        "from flows.suppression.actions import write_action\n"
        "for i in range(150): write_action(Settings(home=Path(sys.argv[1])), 'add', f'{sys.argv[2]}{i}@b.example',"
        " by='jo', reason='r' * 900)"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, tmp_path, name], cwd=ROOT) for name in ("x", "y")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    lines = [json.loads(line) for path in (tmp_path / "actions").iterdir() for line in path.read_text().splitlines()]
    assert sorted(line["address"] for line in lines) == sorted(
        f"{name}{i}@b.example" for name in ("x", "y") for i in range(150)
    )
    assert len({line["action_id"] for line in lines}) == 300


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@", "ann@", "@b.example", "a@b@c.example", "a b@c.example", "a@b.example\nBcc: x@y.example",
     "a@b.example\x00", "a\u202e@b.example", "a\u00a0b@c.example", f"{'a' * 250}@b.example", "\udcff@b.example"],
)  # fmt: skip
def test_what_is_no_address_is_not_recorded(tmp_path, address):
    with pytest.raises(WrongUsageError):
        write_action(Settings(home=tmp_path), "add", address, by="jo", reason="x")
    assert not (tmp_path / "actions").exists()


def test_addresses_that_are_odd_but_right_are_taken():
    for address in ("=1+1@b.example", "ann+tag@b.example", "ä@bücher.example", "o'hara@b.example"):
        assert check_address(f" {address} ") == address
