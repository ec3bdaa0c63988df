"""Postfix: lines of syslog, whose date may lack its year and its zone (RFC 3164, as many write it)."""

import re
from datetime import date, datetime, timedelta

from flows.landing.source import CLOCK, DATE, Context, Source, is_past, time_reason
from flows.sql import one_of, text

FIELDS = ("logged_at", "host", "tag", "pid", "message", "anchor_date")

TIMES = (
    r"[A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d",  # Jul  5 06:52:11, and 05 by postlogd
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?",  # rsyslog, journalctl -o short-iso
    r"\d{4} [A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)?",  # a template with a year
)
PREFIX = r"^(?:[\w.-]+ +\| )?(?:<\d{1,3}>)?(" + "|".join(TIMES) + r") (\S+) "
"""Time and host, after the name that `docker compose logs` puts before a line and the `<PRI>` of a raw message."""

# The tag may be missing (`last message repeated 2 times`): such a line lands, and is no delivery event.
LINE = PREFIX + r"(?:([^\s:\[\]]+)(?:\[(\d+)\])?:(?: |$))?(.*)$"

# The two forms that nearly all lines have, with days that calendars have. One-pass for RE2: nowhere are there two ways
# to go on, so that it gives captures at the pace of a plain match, eight times that of `LINE`.
_TO_29 = r"(?:[ 0][1-9]|[12]\d)"
_TO_30 = r"(?:[ 0][1-9]|[12]\d|30)"
_TO_31 = r"(?:[ 0][1-9]|[12]\d|3[01])"
COMMON_LINE = (
    rf"^((?:(?:J(?:an {_TO_31}|u(?:n {_TO_30}|l {_TO_31}))|Feb {_TO_29}|Ma(?:r|y) {_TO_31}|A(?:pr {_TO_30}|ug {_TO_31})"
    rf"|Sep {_TO_30}|Oct {_TO_31}|Nov {_TO_30}|Dec {_TO_31}) {CLOCK})"
    rf"|{DATE}T{CLOCK}(?:\.\d{{1,9}})?(?:Z|[+-](?:0\d|1[0-2]):[0-5]\d)) "
    r"([^\s:]+) ([^\s:\[\]]+)(?:\[(\d+)\])?: "
)

NAME_DATE = re.compile(r"(?<!\d)(20\d\d)(-?)(\d\d)\2(\d\d)(?!\d)")


def is_finished(line: bytes) -> bool:
    """Whether a last line without a newline is whole: the reply at the end of a status line is in brackets."""
    return b"status=" not in line or line.rstrip(b"\r").endswith(b")")


def find_anchor_date(name: str, modified_at: datetime) -> date:
    """The latest day that a file can speak of: the date in its name, else the day it was last written (UTC)."""
    for match in NAME_DATE.finditer(name):
        try:
            return date(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue
    return modified_at.date()


def is_time_certain(context: Context) -> str:
    """SQL: whether the time of a line of the form `COMMON_LINE` cannot be refused, so that it need not be computed."""
    latest = context.anchor_date + timedelta(days=1)
    first_refused = (context.landed_at + timedelta(days=1)).date()
    refused = [first_refused + timedelta(days=number) for number in range((latest - first_refused).days + 1)]
    if len(refused) > 2 or latest.year - 8 < 2000:
        undated = "false"  # a file dated far ahead, or so long ago that its lines may be
    else:
        spelled = tuple(spelling for day in refused for spelling in (f"{day:%b %d}", f"{day:%b} {day.day:2}"))
        undated = f"left(logged_at, 6) not in {one_of(spelled)}" if spelled else "true"
    return f"case when logged_at[1] <= '9' then {is_past('logged_at', context)} else {undated} end"


def judge(context: Context) -> str:
    """Lines of syslog, of any daemon. A date without a year is in the last year in which it is not after the anchor.

    One day of grace is given, since the host's zone may be ahead of UTC.
    """
    latest = context.anchor_date + timedelta(days=1)
    # February 29 may be up to eight years back (from 1904, after 1896; 2104).
    dated = ",\n                ".join(
        f"case when try_strptime({text(f'{year} ')} || day_and_time, '%Y %b %d %H:%M:%S')::date <= date {text(latest)} "
        f"then try_strptime({text(f'{year} ')} || day_and_time, '%Y %b %d %H:%M:%S') end"
        for year in range(latest.year, latest.year - 9, -1)
    )
    return f"""
    looked_at as (
        select
            record_number, record_part, line, flaw, raw,
            regexp_extract(line, {text(COMMON_LINE)}, ['logged_at', 'host', 'tag', 'pid']) as common,
        from lines
    ),
    told_apart as (
        select *, coalesce(common.host <> '', false) as is_common
        from looked_at
    ),
    parsed as (
        select
            *,
            case
                when not is_common
                    then regexp_extract(line, {text(LINE)}, ['logged_at', 'host', 'tag', 'pid', 'message'])
            end as other,
        from told_apart
    ),
    spread as (
        select
            record_number, record_part, line, flaw, raw, is_common,
            case when is_common then common.logged_at else other.logged_at end as logged_at,
            case when is_common then common.host else other.host end as host,
            nullif(case when is_common then common.tag else other.tag end, '') as tag,
            nullif(case when is_common then common.pid else other.pid end, '') as pid,
            case when is_common then substr(line, strpos(line, ': ') + 2) else other.message end as message,
            date {text(context.anchor_date)} as anchor_date,
        from parsed
    ),
    certain as (
        select *, is_common and {is_time_certain(context)} as is_certain
        from spread
    ),
    dated as (
        select
            *,
            case
                when not is_certain and logged_at[1] not between '0' and '9' then replace(logged_at, '  ', ' ')
            end as day_and_time,
        from certain
    ),
    timed as (
        select
            *,
            case
                when is_certain then null
                when day_and_time is not null then coalesce(
                {dated}
                )::timestamptz
                when logged_at[5] = ' '
                    then try_strptime(
                        trim(regexp_replace(logged_at, '  |\\.\\d+$', ' ', 'g')), '%Y %b %d %H:%M:%S'
                    )::timestamptz
                else try_cast(replace(logged_at, ',', '.') as timestamptz)
            end as happened_at,
        from dated
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when logged_at = '' then 'not a syslog line: no time and host at its beginning'
                when is_certain then null
                when happened_at is null then 'no such time: ' || logged_at
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(
    name="postfix",
    form="lines",
    fields=FIELDS,
    judge=judge,
    field_types=(("anchor_date", "DATE"),),
    line_prefix=PREFIX,
    line_kind="syslog (time, host)",
    is_finished=is_finished,
)
