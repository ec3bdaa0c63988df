"""KumoMTA: JSON log segments, one record a line (https://docs.kumomta.com/userguide/operation/logging/)."""

from flows.landing.source import NOT_AN_OBJECT, Context, Source, json_object, shown, time_reason
from flows.sql import one_of, text

FIELDS = (
    "type", "id", "sender", "recipient", "queue", "site", "size", "response", "peer_address", "timestamp", "event_time",
    "created", "created_time", "num_attempts", "bounce_classification", "egress_pool", "egress_source",
    "source_address", "feedback_report", "meta", "headers", "delivery_protocol", "reception_protocol", "nodeid",
    "tls_cipher", "tls_protocol_version", "tls_peer_subject_name", "provider_name", "session_id",
)  # fmt: skip
EVENT_TYPES = ("Reception", "Delivery", "TransientFailure", "Bounce", "Expiration", "AdminBounce", "OOB", "Feedback")
IGNORED_TYPES = ("Rejection", "Delayed", "AdminRebind", "DeferredInjectionRebind", "XferIn", "XferOut")


def judge(context: Context) -> str:
    """Records of a known type, with a recipient and a time where the type is an event."""
    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object(context, "line", FIELDS)} as record
        from lines
    ),
    timed as (
        select
            * exclude (record),
            unnest(record),
            record is not null as is_object,
            -- `event_time` exists since 2025.10.06; `timestamp` is whole seconds.
            coalesce(
                try_cast(record.event_time as timestamptz), try(to_timestamp(try_cast(record.timestamp as bigint)))
            ) as happened_at,
        from parsed
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when not is_object then {text(NOT_AN_OBJECT)}
                when type is null then 'no record type'
                when type not in {one_of(EVENT_TYPES + IGNORED_TYPES)}
                    then 'unknown record type ''' || {shown("type")} || ''''
                when type in {one_of(EVENT_TYPES)} and nullif(recipient, '') is null then 'no recipient'
                when type in {one_of(EVENT_TYPES)} and happened_at is null then 'no time'
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


SOURCE = Source(name="kumomta", form="json", fields=FIELDS, judge=judge)
