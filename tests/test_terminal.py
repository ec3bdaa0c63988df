"""What is drawn in a terminal, and that nothing of it is drawn elsewhere."""

import json
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import progress
from flows.dbt_process import PROGRESS_NAME
from flows.drawing import draw_bar, draw_spark, spread_days
from flows.report_cli import COLUMN_WIDTHS, choose_columns
from tests.published_database import Bounce, NonDelivery, make_published
from tests.terminal import COMMAND, ROOT, watch

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TEXT = "450 4.2.0 <EMAIL>: Recipient address rejected: greylisted, see <URL>"


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 40), st.booleans())
def test_a_bar_is_as_long_as_its_amount(amount, more, width, is_ascii):
    largest = amount + more
    bar, whole = (
        draw_bar(amount, largest, width, is_ascii=is_ascii),
        draw_bar(largest, largest, width, is_ascii=is_ascii),
    )
    assert 1 <= len(bar) <= len(whole) == width
    assert abs(len(bar) - width * amount / largest) <= 1
    assert bar.isascii() or not is_ascii


def test_bars_are_drawn_to_the_eighth():
    assert [draw_bar(amount, 16, 2) for amount in (0, 1, 5, 8, 9, 16)] == ["", "▏", "▋", "█", "█▏", "██"]
    assert draw_bar(0, 0, 5) == ""


def test_spark_lines_are_blank_where_there_is_nothing():
    assert draw_spark([0, 1, 4, 8]) == " ▁▄█"
    assert draw_spark([0, 1, 1000]) == " ▁█"
    assert draw_spark([0, 0]) == "  "
    assert draw_spark([0, 1, 1000], is_ascii=True) == " .@"


@given(st.dictionaries(st.integers(0, 364), st.integers(1, 10**6)), st.integers(1, 40))
def test_days_are_spread_in_their_order_and_nothing_is_lost(by_day, width):
    spread = spread_days(by_day, 365, width)
    assert len(spread) == width
    assert sum(spread) == sum(by_day.values())
    if by_day:
        first = min(by_day)
        assert all(amount == 0 for amount in spread[: first * width // 365])
    assert spread_days({0: 5, 2: 1}, 3, width=30) == [5, 0, 1]


@pytest.mark.parametrize(
    ("width", "missing"),
    [(200, []), (133, []), (132, ["description"]), (106, ["description"]), (105, ["description", "bar"]),
     (70, ["description", "bar", "by day", "reason"])],
)  # fmt: skip
def test_a_narrow_terminal_has_the_columns_that_say_most(width, missing):
    names = [name for name in COLUMN_WIDTHS if name not in ("sending_ip", "cause", "bounce_class")]
    chosen = choose_columns(names, {"amount": 6, "bar": 6, "by day": 10}, width)
    assert {name for name in names if name not in chosen} == set(missing)


@pytest.fixture
def home(tmp_path):
    facts = [
        Bounce(
            datetime(2026, 3, 2) + timedelta(days=day), recipient_domain=domain, bounce_text=TEXT, reason="greylisted"
        )
        for domain, days in {"often.example": range(30), "last.example": [29] * 3}.items()
        for day in days
    ]
    facts.append(
        Bounce(datetime(2026, 3, 5), recipient_domain="\x1b[31mred.example", bounce_text="[bold]450[/bold] \x07")
    )
    make_published(tmp_path / "bouncehouse.duckdb", facts, [NonDelivery(datetime(2026, 3, 5))])
    return tmp_path


@pytest.mark.parametrize("columns", [160, 100, 80, 40])
def test_a_report_fits_the_terminal_and_draws_its_amounts(home, columns):
    code, said = watch([*COMMAND, "report", "--home", home], columns=columns)
    lines = CODES.sub("", said).splitlines()
    assert code == 0
    assert max(len(line) for line in lines[:-1]) <= columns
    assert lines[-1] == "34 bounces in all; 3 of 3 rows shown"
    (by_day,) = (line for line in lines if line.startswith("by day "))
    assert re.match(r"by day ▂▂▂▄▂+█ ", by_day)
    assert "most on 2026-03-31: 4" in lines[-2]
    assert CODES.findall(said)  # in colour
    assert "\x1b[31m" not in said.replace("\x1b[36m", "")
    assert "\x07" not in said
    if columns != 80:
        assert re.search("▁▁|▂▂|██", "".join(lines[4:-2]))
    text = " ".join(re.sub("[│┃]", " ", "".join(lines)).split())
    assert "often" in text
    assert "greylisted" in text or columns == 80


def test_a_report_that_nobody_watches_is_plain(home):
    ran = subprocess.run(
        [sys.executable, *COMMAND, "report", "--home", home], cwd=ROOT, capture_output=True, check=True
    )
    said = ran.stdout.decode()
    assert not [character for character in said if ord(character) < 32 and character != "\n"]
    assert "██████████" in said
    assert "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█" not in said  # each row has a height of its own
    assert "█" * 30 in said


def test_a_terminal_without_unicode_gets_ascii(home):
    code, said = watch([*COMMAND, "report", "--home", home], environment={"PYTHONIOENCODING": "ascii"})
    assert code == 0
    assert CODES.sub("", said).isascii()
    assert "##" in said


STEPS = """
import sys, time
from flows import progress
with progress.show_progress():
    with progress.follow("Landing", "bytes", 3_000_000):
        for _ in range(3):
            progress.advance(1_000_000)
            time.sleep(0.3)
    with progress.follow("Building", "steps"):
        for number in range(1, 6):
            progress.set_done(number, 5)
            time.sleep(0.15)
    with progress.follow("Nothing", "bytes", 0):
        pass
print("done")
"""


def test_who_watches_sees_bars_with_rates_and_what_is_left():
    code, said = watch(["-c", STEPS])
    shown = CODES.sub("", said)
    assert code == 0
    assert re.search(r"Landing .*2\.0/3\.0 MB .*MB/s .* left", shown)
    assert re.search(r"Building .*4/5 steps, \d+\.\d/s .* left", shown)
    assert "Nothing" not in shown
    assert shown.rstrip().endswith("done")


def test_who_does_not_watch_gets_a_plain_line_at_times(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.show_progress(), progress.follow("Landing", "bytes", 3_000_000):
        time.sleep(0.01)
        progress.advance(1_000_000)
    written = capsys.readouterr()
    assert re.fullmatch(r"Landing   1,000,000 of 3,000,000 bytes, [\d,.]+/s, [\d,]+ s left\n", written.out)
    assert written.err == ""
    progress.advance(1)  # nobody is told any more
    assert capsys.readouterr().out == ""


def test_a_short_run_prints_no_line(capsys):
    with progress.show_progress(), progress.follow("Building", "steps", 5):
        progress.advance(5)
    assert capsys.readouterr().out == ""


@pytest.mark.xdist_group("warehouse")
def test_dbt_notes_every_node_that_it_comes_through(warehouse):
    folder = warehouse.settings.dbt_target
    nodes = len(json.loads((folder / "results.json").read_text())["results"])
    assert (folder / PROGRESS_NAME).read_text() == f"{nodes} {nodes}"
    assert not list(folder.rglob("*.sql"))  # their SQL is in the results
