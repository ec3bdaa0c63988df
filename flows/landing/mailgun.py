"""Mailgun: webhook bodies, pages of its Events API, bare events (https://documentation.mailgun.com)."""

from flows.landing.source import Context, Source, judge_objects

FIELDS = (
    "event", "id", "timestamp", "severity", "reason", "recipient", "recipient-domain", "envelope", "delivery-status",
    "message", "flags", "reject", "tags", "campaigns", "user-variables", "batch", "template", "storage",
)  # fmt: skip
EVENT_KINDS = ("accepted", "delivered", "failed/temporary", "failed/permanent", "rejected", "complained")
IGNORED_KINDS = (
    "opened", "clicked", "unsubscribed", "stored", "list_member_uploaded", "list_member_upload_error", "list_uploaded",
)  # fmt: skip


def judge(context: Context) -> str:
    """Events out of a webhook's `event-data`; whether a failure is final is its severity's to say."""
    return judge_objects(
        context,
        FIELDS,
        wrapper=("event-data",),
        kind="case when event = 'failed' then concat_ws('/', event, severity) else event end",
        event_kinds=EVENT_KINDS,
        ignored_kinds=IGNORED_KINDS,
        # a message that was refused before it was taken names only its header's recipients
        recipient="coalesce(recipient, try(json_extract_string(message, '$.headers.to')))",
        time="timestamp",
    )


SOURCE = Source(name="mailgun", form="json", fields=FIELDS, judge=judge, list_key="items")
