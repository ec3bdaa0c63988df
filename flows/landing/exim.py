"""Exim: lines of mainlog (Exim specification, chapter "Log files")."""

import re

from flows.landing.source import CLOCK, DATE, Context, Source, is_past, time_reason
from flows.sql import text

FIELDS = ("logged_at", "pid", "exim_id", "message")

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?"
"""Milliseconds and zone are there with `log_selector = +millisec` and `log_timezone`."""

PREFIX = rf"^({TIME}) "
EXIM_ID = r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"
"""16 characters, or 23 since 4.97."""

LINE = PREFIX + rf"(?:\[(\d+)\] )?(?:({EXIM_ID}) )?(.*)$"

# What nearly all lines have. One-pass for RE2 (nowhere two ways to go on), and so several times as fast as `LINE`.
COMMON_LINE = (
    rf"^({DATE} {CLOCK}(?:\.\d{{1,9}})?) (?:([+-](?:0\d|1[0-2])[0-5]\d) )?(?:\[(\d+)\] )?"
    r"([0-9A-Za-z]{6}-[0-9A-Za-z]{6}(?:-[0-9A-Za-z]{2}|[0-9A-Za-z]{5}-[0-9A-Za-z]{4})) "
)

FLAGGED = re.compile(rb"^(.{19,33}) (?:\[\d+\] )?[0-9A-Za-z-]{16,23} (?:<=|=>|->|>>|\*>|==|\*\*) ")
LAST_ITEM = re.compile(rb'(?:"| [QD]T=[\d.hms]+)\r?$')


def is_finished(line: bytes) -> bool:
    """Whether a last line without a newline is whole: only a delivery's end can be known, by its last items."""
    return FLAGGED.match(line) is None or (b" => " in line[:70] and LAST_ITEM.search(line) is not None)


def judge(context: Context) -> str:
    """Lines that begin with a time, of a message or of the daemon. A time without a zone is taken for UTC here."""
    return f"""
    looked_at as (
        select
            record_number, record_part, line, flaw, raw,
            regexp_extract(line, {text(COMMON_LINE)}, ['time', 'zone', 'pid', 'exim_id']) as common,
        from lines
    ),
    told_apart as (
        select *, coalesce(common.exim_id <> '', false) as is_common
        from looked_at
    ),
    parsed as (
        select
            *,
            case
                when not is_common
                    then regexp_extract(line, {text(LINE)}, ['logged_at', 'pid', 'exim_id', 'message'])
            end as other,
        from told_apart
    ),
    spread as (
        select
            record_number, record_part, line, flaw, raw, is_common,
            case
                when is_common and common.zone = '' then common.time
                when is_common then common.time || ' ' || common.zone
                else other.logged_at
            end as logged_at,
            nullif(case when is_common then common.pid else other.pid end, '') as pid,
            nullif(case when is_common then common.exim_id else other.exim_id end, '') as exim_id,
            case
                when is_common then substr(line, strpos(line, common.exim_id) + length(common.exim_id) + 1)
                else other.message
            end as message,
        from parsed
    ),
    certain as (
        select *, is_common and {is_past("logged_at", context)} as is_certain
        from spread
    ),
    timed as (
        select
            *,
            case
                when is_certain then null
                when length(logged_at) > 23 then try_cast(
                    left(logged_at, length(logged_at) - 6) || right(logged_at, 5) as timestamptz
                )
                else try_cast(logged_at as timestamptz)
            end as happened_at,
        from certain
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when logged_at = '' then 'not a line of mainlog: no time at its beginning'
                when is_certain then null
                when happened_at is null then 'no such time: ' || logged_at
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(
    name="exim",
    form="lines",
    fields=FIELDS,
    judge=judge,
    line_prefix=PREFIX,
    line_kind="Exim's mainlog (2026-03-02 10:00:00 …)",
    is_finished=is_finished,
)
