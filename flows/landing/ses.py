"""Amazon SES: event publishing and identity notifications, bare or as SNS, SQS and EventBridge carry them.

Contents: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html and
`notification-contents.html`; envelope: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
"""

from flows.landing.source import NOT_AN_OBJECT, Context, Source, json_object, shown, time_reason
from flows.sql import one_of, text

ENVELOPE_FIELDS = ("Type", "MessageId", "TopicArn", "Timestamp")
EVENT_FIELDS = (
    "eventType", "notificationType", "mail", "bounce", "complaint", "delivery", "deliveryDelay", "send", "reject",
    "failure", "open", "click", "subscription",
)  # fmt: skip
CARRIER_FIELDS = ("Message", "Body", "detail")

EVENT_TYPES = ("Send", "Delivery", "DeliveryDelay", "Bounce", "Complaint", "Reject", "Rendering Failure")
# `Received` is inbound mail; the last is what SES sends when a topic is connected.
IGNORED_TYPES = ("Open", "Click", "Subscription", "Received", "AmazonSnsSubscriptionSucceeded")
RECIPIENT_OF = {
    "Bounce": "bouncedRecipients[0].emailAddress",
    "Complaint": "complainedRecipients[0].emailAddress",
    "Delivery": "recipients[0]",
    "DeliveryDelay": "delayedRecipients[0].emailAddress",
}
"""Where the object of a kind names its first recipient; other kinds have the mail's."""
SNS_TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


def judge(context: Context) -> str:
    """Events taken out of their carriers, at most one of each kind: SQS body, SNS message, EventBridge detail.

    An SNS envelope whose message is no JSON (a confirmation, a text of SES to say that it connected) lands without an
    event type, as a record that is no delivery event.
    """
    layer = ENVELOPE_FIELDS + EVENT_FIELDS + CARRIER_FIELDS
    envelope = ", ".join(f'enveloped."{name}" as "{name}"' for name in ENVELOPE_FIELDS)
    event = ", ".join(f'event."{name}" as "{name}"' for name in EVENT_FIELDS)
    places = " ".join(f"when {text(kind)} then {place}" for place, kind in enumerate(RECIPIENT_OF, 2))
    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object(context, "line", layer)} as record
        from lines
    ),
    taken_from_queue as (
        select
            * exclude (record),
            record is not null as is_object,
            record."Body" as body,
            case
                when record."Body" is null then record
                else {json_object(context, 'record."Body"', layer)}
            end as queued,
        from parsed
    ),
    taken_from_topic as (
        select
            * exclude (queued),
            queued is not null as has_queued,
            case when queued."Type" in {one_of(SNS_TYPES)} then queued end as enveloped,
            case
                when queued."Message" is not null and queued."eventType" is null and queued."notificationType" is null
                    then {json_object(context, 'queued."Message"', layer)}
                else queued
            end as notified,
        from taken_from_queue
    ),
    taken_from_bus as (
        select
            * exclude (notified),
            case
                when notified.detail is not null and notified."eventType" is null
                    then {json_object(context, "notified.detail", layer)}
                else notified
            end as event,
        from taken_from_topic
    ),
    spread as (
        select
            record_number, record_part, line, flaw, raw, is_object, has_queued,
            {envelope},
            enveloped."Message" as message,
            {event},
            coalesce(event."eventType", event."notificationType") as kind,
        from taken_from_bus
    ),
    -- each object is read once, whatever is wanted of it
    reported as (
        select
            *,
            try(json_extract_string(
                case kind
                    when 'Bounce' then bounce
                    when 'Complaint' then complaint
                    when 'Delivery' then delivery
                    when 'DeliveryDelay' then "deliveryDelay"
                end,
                {list_of(("timestamp", *RECIPIENT_OF.values()))}
            )) as report,
        from spread
    ),
    named as (
        select
            *,
            report[1] as reported_at,
            report[case kind {places} end] as reported_recipient,
        from reported
    ),
    mailed as (
        select
            *,
            case
                when reported_at is null or reported_recipient is null
                    then try(json_extract_string(mail, {list_of(("timestamp", "destination[0]"))}))
            end as mailing,
        from named
    ),
    timed as (
        select
            *,
            try_cast(coalesce(reported_at, mailing[1]) as timestamptz) as happened_at,
            case
                when kind in ('Bounce', 'Complaint', 'DeliveryDelay') then reported_recipient
                else coalesce(reported_recipient, mailing[2])
            end as first_recipient,
        from mailed
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when not is_object then {text(NOT_AN_OBJECT)}
                when not has_queued then 'the body of the SQS message is no JSON object'
                when kind is null and starts_with(ltrim(message), '{{') and not coalesce(json_valid(message), false)
                    then 'the message of the SNS envelope is damaged JSON'
                when kind is null and message is not null and starts_with(ltrim(message), '{{')
                    then 'the message of the SNS envelope has no eventType or notificationType'
                when kind is null and "Type" is null then 'no eventType, notificationType or SNS Type'
                when kind not in {one_of(EVENT_TYPES + IGNORED_TYPES)}
                    then 'unknown record type ''' || {shown("kind")} || ''''
                when kind in {one_of(EVENT_TYPES)} and nullif(first_recipient, '') is null then 'no recipient'
                when kind in {one_of(EVENT_TYPES)} and happened_at is null then 'no time'
                {time_reason("happened_at", context)}
            end as reject_reason,
        from timed
    )"""


def list_of(paths: tuple[str, ...]) -> str:
    """Several paths of one JSON document in SQL."""
    return "[" + ", ".join(f"'$.{path}'" for path in paths) + "]"


SOURCE = Source(name="ses", form="json", fields=ENVELOPE_FIELDS + EVENT_FIELDS, judge=judge, list_key="Messages")
