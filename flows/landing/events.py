"""The canonical delivery event, for anyone who writes it: JSON lines, CSV with a header, or Parquet."""

from flows.landing.source import NOT_AN_OBJECT, Context, Source, json_object, shown, time_reason
from flows.sql import one_of, text

FIELDS = (
    "event_type", "event_at", "recipient", "message_id", "attempt_number", "is_attempt", "envelope_sender",
    "from_domain", "sending_ip", "campaign_id", "mx_host", "mx_ip", "smtp_code", "enhanced_code", "response_text",
    "response_origin", "native_event_id", "native_event_type", "native_class",
)  # fmt: skip
EVENT_TYPES = (
    "injected", "delivered", "deferred", "bounced", "expired", "dropped", "out_of_band_bounce", "complaint",
)  # fmt: skip


def judge(context: Context) -> str:
    """JSON lines, judged as tables are."""
    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object(context, "line", FIELDS)} as record
        from lines
    ),
    spread as (
        select * exclude (record), unnest(record), record is not null as is_object
        from parsed
    ),
    {judge_columns(context, "spread")}"""


def judge_table(context: Context) -> str:
    """Rows of CSV or Parquet, whose `lines` has the fields as columns already."""
    return f"""
    spread as (select *, true as is_object from lines),
    {judge_columns(context, "spread")}"""


def judge_columns(context: Context, relation: str) -> str:
    """The CTEs from the fields on: required ones are there, codes and numbers are such."""
    return f"""timed as (
        select
            *,
            -- ISO 8601, UTC where it names no zone; or seconds since 1970.
            case
                when regexp_full_match(trim(event_at), '\\d{{1,12}}(\\.\\d*)?') then try(to_timestamp(event_at::double))
                -- the engine would shift a time by days for the offset of no zone
                when regexp_matches(event_at, ':\\d\\d(\\.\\d+)? ?[+-](1[6-9]|[2-9]\\d)') then null
                else try_cast(event_at as timestamptz)
            end as happened_at,
        from {relation}
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when not is_object then {text(NOT_AN_OBJECT)}
                when nullif(event_type, '') is null then 'no event_type'
                when event_type not in {one_of(EVENT_TYPES)}
                    then 'unknown event_type ''' || {shown("event_type")} || ''''
                when nullif(recipient, '') is null then 'no recipient'
                when nullif(event_at, '') is null then 'no event_at'
                when happened_at is null then 'event_at is no time: ''' || {shown("event_at")} || ''''
                when nullif(smtp_code, '') is not null and not regexp_full_match(smtp_code, '[2-5]\\d\\d')
                    then 'smtp_code is not 200 to 599: ''' || {shown("smtp_code")} || ''''
                when nullif(attempt_number, '') is not null and not coalesce(
                    regexp_full_match(attempt_number, '\\d{{1,9}}') and try_cast(attempt_number as integer) >= 1, false
                )
                    then 'attempt_number is no count from 1: ''' || {shown("attempt_number")} || ''''
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(name="events", form="json", fields=FIELDS, judge=judge)
TABLE = Source(name="events", form="table", fields=FIELDS, judge=judge_table)
