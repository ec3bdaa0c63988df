"""Postfix: lines of syslog, whose date may lack its year and its zone (RFC 3164, as many write it)."""

import re
from datetime import date, datetime, timedelta

from flows.landing.source import Context, Source, text, time_reason

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


def judge(context: Context) -> str:
    """Lines of syslog, of any daemon. A date without a year is in the last year in which it is not after the anchor.

    One day of grace is given, since the host's zone may be ahead of UTC.
    """
    latest = context.anchor_date + timedelta(days=1)
    # February 29 may be up to eight years back (from 1904, after 1896; 2104).
    dated = ",\n                ".join(
        f"case when try_strptime('{year} ' || day_and_time, '%Y %b %d %H:%M:%S')::date <= date '{latest}' "
        f"then try_strptime('{year} ' || day_and_time, '%Y %b %d %H:%M:%S') end"
        for year in range(latest.year, latest.year - 9, -1)
    )
    return f"""
    parsed as (
        select
            record_number, record_part, line, flaw, raw,
            regexp_extract(line, {text(LINE)}, ['logged_at', 'host', 'tag', 'pid', 'message']) as record,
        from lines
    ),
    spread as (
        select
            * exclude (record),
            record.logged_at as logged_at,
            record.host as host,
            nullif(record.tag, '') as tag,
            nullif(record.pid, '') as pid,
            record.message as message,
            date '{context.anchor_date}' as anchor_date,
            case when record.logged_at[1] not between '0' and '9' then replace(record.logged_at, '  ', ' ') end
                as day_and_time,
        from parsed
    ),
    timed as (
        select
            *,
            case
                when day_and_time is not null then coalesce(
                {dated}
                )::timestamptz
                when logged_at[5] = ' '
                    then try_strptime(
                        trim(regexp_replace(logged_at, '  |\\.\\d+$', ' ', 'g')), '%Y %b %d %H:%M:%S'
                    )::timestamptz
                else try_cast(replace(logged_at, ',', '.') as timestamptz)
            end as happened_at,
        from spread
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when logged_at = '' then 'not a syslog line: no time and host at its beginning'
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
