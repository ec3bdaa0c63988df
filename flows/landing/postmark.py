"""Postmark: webhook bodies, one object each, and pages of its Bounces API (https://postmarkapp.com/developer)."""

from flows.landing.source import Context, Source, judge_objects

FIELDS = (
    "RecordType", "ID", "Type", "TypeCode", "Name", "Tag", "MessageID", "ServerID", "ServerId", "MessageStream",
    "Description", "Details", "Email", "Recipient", "From", "BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt",
    "Inactive", "CanActivate", "DumpAvailable", "Subject", "Content", "Metadata", "SuppressSending",
    "SuppressionReason",
)  # fmt: skip
EVENT_KINDS = (
    "Delivery", "SpamComplaint", "HardBounce", "SoftBounce", "Blocked", "DMARCPolicy", "VirusNotification", "Transient",
    "DnsError", "BadEmailAddress", "ManuallyDeactivated", "SMTPApiError", "TemplateRenderingFailed", "InboundError",
    "SpamNotification",
)  # fmt: skip
IGNORED_KINDS = (
    "Open", "Click", "SubscriptionChange", "AutoResponder", "AddressChange", "ChallengeVerification", "Unsubscribe",
    "Subscribe", "OpenRelayTest", "Unknown",
)  # fmt: skip


def judge(context: Context) -> str:
    """Records by `RecordType`, bounces by their `Type`."""
    return judge_objects(
        context,
        FIELDS,
        kind="""case when "RecordType" = 'Bounce' then "Type" else "RecordType" end""",
        event_kinds=EVENT_KINDS,
        ignored_kinds=IGNORED_KINDS,
        recipient='coalesce("Email", "Recipient")',
        time='coalesce("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt")',
    )


SOURCE = Source(name="postmark", form="json", fields=FIELDS, judge=judge, list_key="Bounces")
