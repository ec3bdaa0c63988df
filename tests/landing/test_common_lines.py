"""The quick way that common lines of syslog and mainlog are read gives what the full pattern gives, whatever the line."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from types import ModuleType
from typing import Any

import duckdb
import pytest

from flows.landing import exim, postfix
from flows.landing.source import Context

LANDED_AT = datetime(2026, 11, 23, 0, 30)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Abc"]
FRACTIONS = ("", "", "", "", ".5", ".123456", ".123456789", ",250", ".")
ZONES = ("", "", "", "Z", "+00:00", "-12:00", "+12:59", "+14:00", "-0800", "+0530", " +0200", " -1200", "+99:00")
TAGS = ("postfix/smtp[12]:", "postfix/smtp[]:", "postfix-a/smtp:", "last message", "a[1]b:", "tag[x]:", "kernel:", ":")
EXIM_IDS = ("1wbda7-002823-F1 ", "1wbda7-00000002823-F1aB ", "1wbda7-002823-F ", "1wbda7-002823-F1", "")
MESSAGES = (
    "",
    "Completed",
    "374DB7D79D: to=<a@example.org>, status=sent (250 ok: queued)",
    "é: ",
    "=> a [::1]:25 ",
    "[",
)


def random_clock(source: random.Random) -> str:
    hour, minute, second = (
        source.choice((23, 25, 0, 9, 11)),
        source.choice((0, 59, 30, 60)),
        source.choice((0, 59, 30, 60)),
    )
    return f"{hour:02}:{minute:02}:{second:02}"


def random_date(source: random.Random) -> str:
    if source.random() < 0.5:
        return f"{LANDED_AT + timedelta(days=source.randint(-3, 3)):%Y-%m-%d}"
    year = source.choice((1999, 2000, 2025, 2026, 2104))
    return f"{year}-{source.choice((0, 2, 4, 12, 13)):02}-{source.choice((0, 1, 28, 29, 30, 31, 32)):02}"


def random_iso_time(source: random.Random, between: str) -> str:
    between = between if source.random() < 0.9 else source.choice("T ")
    moment = random_date(source) + between + random_clock(source)
    return moment + source.choice(FRACTIONS) + source.choice(ZONES)


def random_syslog_line(source: random.Random) -> str:
    day = LANDED_AT + timedelta(days=source.randint(-3, 3))
    number = source.randint(0, 32)
    time = source.choice(
        (
            f"{source.choice(MONTHS)} {source.choice((f'{number:2}', f'{number:02}', str(number)))}"
            f" {random_clock(source)}",
            f"{day:%b} {day.day:2} {random_clock(source)}",
            f"2026 {day:%b} {day.day:2} {random_clock(source)}",
            random_iso_time(source, "T"),
        )
    )
    before = source.choice(("", "", "", "", "<22>", "mail-1  | ", " "))
    host = source.choice(("mx1 ", "mx1 ", "mx1: ", "fe80::1 ", "ünï ", "a b ", ""))
    return f"{before}{time} {host}{source.choice(TAGS)}{source.choice((' ', ' ', '', '  '))}{source.choice(MESSAGES)}"


def random_mainlog_line(source: random.Random) -> str:
    pid = source.choice(("", "", "[123] ", "[] ", "[1 "))
    return f"{random_iso_time(source, ' ')} {pid}{source.choice(EXIM_IDS)}{source.choice(MESSAGES)}"


def judge(module: ModuleType, context: Context, lines: list[str]) -> list[Any]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(
            "create table lines as select generate_subscripts($1::varchar[], 1)::bigint as record_number,"
            " 1 as record_part, unnest($1::varchar[]) as line, null::varchar as flaw, null::blob as raw",
            [lines],
        )
        return connection.execute(
            f"with {module.judge(context)}"
            f" select line, {', '.join(module.FIELDS)}, reject_reason from judged order by record_number"
        ).fetchall()


@pytest.mark.parametrize(
    "anchor_date",
    [date(2026, 11, 23), date(2026, 11, 25), date(2026, 3, 1), date(2006, 5, 5), date(1970, 1, 1), date(2031, 1, 1)],
    ids=str,
)
@pytest.mark.parametrize(
    ("module", "make_line"), [(postfix, random_syslog_line), (exim, random_mainlog_line)], ids=["postfix", "exim"]
)
def test_quick_and_full_pattern_agree(
    module: ModuleType,
    make_line: Callable[[random.Random], str],
    anchor_date: date,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, context = random.Random(5), Context(LANDED_AT, anchor_date)
    lines = [make_line(source) for _ in range(4_000)]
    quick = judge(module, context, lines)
    assert sum(row[-1] is None for row in quick) > 200 or anchor_date.year in (1970, 2031)
    monkeypatch.setattr(module, "COMMON_LINE", "^(no)(line)(is)(common)$")
    assert quick == judge(module, context, lines)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (postfix, "Mar  2 00:00:21 mta1 postfix/smtpd[17551]: 374DB7D79D: client=app1.internal.example[192.0.2.80]"),
        (postfix, "2026-03-08T01:00:13.282470+01:00 mta2 postfix/qmgr[1187]: 4RKFPKSLJLzkjfb: removed"),
        (exim, "2026-03-02 00:00:37 1wbda7-002823-F1 Completed"),
        (exim, "2026-03-02 00:00:37.123 +0100 [77] 1wbda7-00000002823-F1aB Completed"),
    ],
)
def test_usual_lines_take_the_quick_way(module: ModuleType, line: str) -> None:
    with duckdb.connect() as connection:
        assert connection.execute("select regexp_matches($1, $2)", [line, module.COMMON_LINE]).fetchone() == (True,)
