"""Exim: lines of mainlog (Exim specification, chapter "Log files")."""

import re

from flows.landing.source import Context, Source, text, time_reason

FIELDS = ("logged_at", "pid", "exim_id", "message")

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?"
"""Milliseconds and zone are there with `log_selector = +millisec` and `log_timezone`."""

PREFIX = rf"^({TIME}) "
EXIM_ID = r"[0-9A-Za-z]{6}-(?:[0-9A-Za-z]{6}-[0-9A-Za-z]{2}|[0-9A-Za-z]{11}-[0-9A-Za-z]{4})"
"""16 characters, or 23 since 4.97."""

LINE = PREFIX + rf"(?:\[(\d+)\] )?(?:({EXIM_ID}) )?(.*)$"

FLAGGED = re.compile(rb"^(.{19,33}) (?:\[\d+\] )?[0-9A-Za-z-]{16,23} (?:<=|=>|->|>>|\*>|==|\*\*) ")
LAST_ITEM = re.compile(rb'(?:"| [QD]T=[\d.hms]+)\r?$')


def is_finished(line: bytes) -> bool:
    """Whether a last line without a newline is whole: only a delivery's end can be known, by its last items."""
    return FLAGGED.match(line) is None or (b" => " in line[:70] and LAST_ITEM.search(line) is not None)


def judge(context: Context) -> str:
    """Lines that begin with a time, of a message or of the daemon. A time without a zone is taken for UTC here."""
    return f"""
    parsed as (
        select
            record_number, record_part, line, flaw, raw,
            regexp_extract(line, {text(LINE)}, ['logged_at', 'pid', 'exim_id', 'message']) as record,
        from lines
    ),
    timed as (
        select
            * exclude (record),
            record.logged_at as logged_at,
            nullif(record.pid, '') as pid,
            nullif(record.exim_id, '') as exim_id,
            record.message as message,
            case
                when length(logged_at) > 23 then try_cast(
                    left(logged_at, length(logged_at) - 6) || right(logged_at, 5) as timestamptz
                )
                else try_cast(logged_at as timestamptz)
            end as happened_at,
        from parsed
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when logged_at = '' then 'not a line of mainlog: no time at its beginning'
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
