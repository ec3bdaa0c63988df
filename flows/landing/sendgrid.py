"""SendGrid: stored bodies of its Event Webhook (https://www.twilio.com/docs/sendgrid/for-developers/tracking-events)."""

from flows.landing.source import Context, Source, judge_objects

FIELDS = (
    "email", "timestamp", "event", "type", "smtp-id", "sg_event_id", "sg_message_id", "reason", "status", "response",
    "attempt", "bounce_classification", "ip", "tls", "category", "marketing_campaign_id", "asm_group_id", "pool",
)  # fmt: skip
EVENT_KINDS = ("processed", "delivered", "deferred", "bounce", "dropped", "spamreport")
IGNORED_KINDS = (
    "open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe", "account_status_change",
)  # fmt: skip


def judge(context: Context) -> str:
    """Events of a known kind."""
    return judge_objects(
        context,
        FIELDS,
        kind="event",
        event_kinds=EVENT_KINDS,
        ignored_kinds=IGNORED_KINDS,
        recipient="email",
        time="timestamp",
    )


# The sender's own arguments stand among SendGrid's fields, under names of the sender's choice: the whole object stays.
SOURCE = Source(name="sendgrid", form="json", fields=(*FIELDS, "record"), judge=judge)
