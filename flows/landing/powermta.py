"""PowerMTA: accounting files, CSV whose header line says which fields its rows have (User's Guide, 12.2)."""

from flows.landing.source import Context, Source, shown, time_reason
from flows.sql import one_of

FIELDS = (
    "type", "timeLogged", "timeQueued", "timeImprinted", "timeFirstAttempt", "orig", "rcpt", "orcpt", "dsnAction",
    "dsnStatus", "dsnDiag", "dsnMta", "dsnReportingMta", "bounceCat", "srcType", "srcMta", "rcvSourceIp",
    "rcvDestinationIp", "dlvType", "dlvSourceIp", "dlvDestinationIp", "dlvEsmtpAvailable", "dlvSize", "vmta",
    "vmtaPool", "jobId", "envId", "queue", "repSourceIp", "feedbackType", "format", "userAgent", "reportingMTA",
    "reportedDomain", "headers",
)  # fmt: skip
"""PowerMTA's own columns: null where a file has no such column, '' where it is empty. `headers` holds all others
(`header_X-Campaign`, `arf_Source-IP`, what a later version adds) as a JSON object."""

EVENT_TYPES = ("d", "b", "t", "r", "rb", "f")
IGNORED_TYPES = ("tq", "rs")


def judge(context: Context) -> str:
    """Rows of a known type, with a recipient and a time where the type is an event.

    A complaint may name its recipient only inside the report (`arf_Original-Rcpt-To`), or nowhere.
    """
    return f"""
    told as (
        select
            *,
            case
                when timeLogged <> '' then timeLogged
                -- a file cut down to few fields; a message has one outcome, so that its rows stay distinct
                when type in ('d', 'b') then nullif(timeQueued, '')
            end as logged_text,
        from lines
    ),
    timed as (
        select
            *,
            -- 2019-02-08 21:54:05+0000 (iso-times), 1549662845 (older), 02/08/2019 21:54:05 (the manual's prose)
            coalesce(
                try_cast(logged_text as timestamptz),
                try(to_timestamp(try_cast(logged_text as bigint))),
                try_cast(replace(logged_text, ' +', '+') as timestamptz),
                try_cast(regexp_replace(logged_text, ' -(\\d)', '-\\1') as timestamptz),
                try_strptime(logged_text, '%m/%d/%Y %H:%M:%S')::timestamptz
            ) as happened_at,
        from told
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when coalesce(type, '') = '' then 'no record type'
                when type not in {one_of(EVENT_TYPES + IGNORED_TYPES)}
                    then 'unknown record type ''' || {shown("type")} || ''''
                when type in {one_of(EVENT_TYPES)} and type <> 'f' and coalesce(rcpt, '') = '' then 'no rcpt'
                when type in {one_of(EVENT_TYPES)} and logged_text is null then 'no timeLogged'
                when type in {one_of(EVENT_TYPES)} and happened_at is null
                    then 'timeLogged is no time: ''' || {shown("logged_text")} || ''''
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(name="powermta", form="table", fields=FIELDS, judge=judge)
