"""Amazon SES: event publishing and identity notifications, bare or as SNS, SQS and EventBridge carry them.

Contents: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html and
`notification-contents.html`; envelope: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
"""

from flows.landing.source import (
    NOT_AN_OBJECT,
    Context,
    Source,
    json_object,
    one_of,
    shown,
    time_reason,
)

ENVELOPE_FIELDS = ("Type", "MessageId", "TopicArn", "Timestamp")
EVENT_FIELDS = (
    "eventType", "notificationType", "mail", "bounce", "complaint", "delivery", "deliveryDelay", "send", "reject",
    "failure", "open", "click", "subscription",
)  # fmt: skip
CARRIER_FIELDS = ("Message", "Body", "detail")

EVENT_TYPES = ("Send", "Delivery", "DeliveryDelay", "Bounce", "Complaint", "Reject", "Rendering Failure")
# `Received` is inbound mail; the last is what SES sends when a topic is connected.
IGNORED_TYPES = ("Open", "Click", "Subscription", "Received", "AmazonSnsSubscriptionSucceeded")
SNS_TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")


def judge(context: Context) -> str:
    """Events taken out of their carriers, at most one of each kind: SQS body, SNS message, EventBridge detail.

    An SNS envelope whose message is no JSON (a confirmation, a text of SES to say that it connected) lands without an
    event type, as a record that is no delivery event.
    """
    layer = ENVELOPE_FIELDS + EVENT_FIELDS + CARRIER_FIELDS
    envelope = ", ".join(f'enveloped."{name}" as "{name}"' for name in ENVELOPE_FIELDS)
    event = ", ".join(f'event."{name}" as "{name}"' for name in EVENT_FIELDS)
    return f"""
    parsed as (
        select record_number, record_part, line, flaw, raw, {json_object("line", layer)} as record
        from lines
    ),
    taken_from_queue as (
        select
            * exclude (record),
            record is not null as is_object,
            record."Body" as body,
            case when record."Body" is null then record else {json_object('record."Body"', layer)} end as queued,
        from parsed
    ),
    taken_from_topic as (
        select
            * exclude (queued),
            queued is not null as has_queued,
            case when queued."Type" in {one_of(SNS_TYPES)} then queued end as enveloped,
            case
                when queued."Message" is not null and queued."eventType" is null and queued."notificationType" is null
                    then {json_object('queued."Message"', layer)}
                else queued
            end as notified,
        from taken_from_queue
    ),
    taken_from_bus as (
        select
            * exclude (notified),
            case
                when notified.detail is not null and notified."eventType" is null
                    then {json_object("notified.detail", layer)}
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
    timed as (
        select
            *,
            try_cast(coalesce(
                case kind
                    when 'Bounce' then try(bounce ->> '$.timestamp')
                    when 'Complaint' then try(complaint ->> '$.timestamp')
                    when 'Delivery' then try(delivery ->> '$.timestamp')
                    when 'DeliveryDelay' then try("deliveryDelay" ->> '$.timestamp')
                end,
                try(mail ->> '$.timestamp')
            ) as timestamptz) as happened_at,
            case kind
                when 'Bounce' then try(bounce ->> '$.bouncedRecipients[0].emailAddress')
                when 'Complaint' then try(complaint ->> '$.complainedRecipients[0].emailAddress')
                when 'DeliveryDelay' then try("deliveryDelay" ->> '$.delayedRecipients[0].emailAddress')
                when 'Delivery'
                    then coalesce(try(delivery ->> '$.recipients[0]'), try(mail ->> '$.destination[0]'))
                else try(mail ->> '$.destination[0]')
            end as first_recipient,
        from spread
    ),
    judged as (
        select
            *,
            case
                when flaw is not null then flaw
                when not is_object then '{NOT_AN_OBJECT}'
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


SOURCE = Source(name="ses", form="json", fields=ENVELOPE_FIELDS + EVENT_FIELDS, judge=judge, list_key="Messages")
