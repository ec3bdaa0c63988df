"""Postmark's webhook bodies, one object a line: deliveries, bounces of every type, complaints.

Nothing is said of a message's arrival, and a report that comes back late looks like any bounce, so that `fates.csv` has
none. Only bounces and complaints name the sender.
"""

from pathlib import Path

import duckdb

from flows.generate.files import json_object, write_records
from flows.generate.history import Day

DIGEST = "md5('postmark:' || message_number || ':' || recipient_number)"
MESSAGE_ID = (
    f"{DIGEST}[:8] || '-' || {DIGEST}[9:12] || '-4' || {DIGEST}[14:16] || '-a' || {DIGEST}[18:20] || '-' "
    f"|| {DIGEST}[21:32]"
)
"""Of its own for each recipient."""

ITSELF, AGAIN, OPENED, ANSWERED = range(4)

COPIES = f"""
    case
        when event_type = 'delivered' and drawn % 7 = 1 then [{ITSELF}, {OPENED}]
        when event_type = 'delivered' and drawn % 41 = 5 then [{ITSELF}, {ANSWERED}]
        when drawn % 67 = 3 then [{ITSELF}, {AGAIN}]
        else [{ITSELF}]
    end
"""

KIND = f"""
    case
        when copy = {ANSWERED} then 'AutoResponder'
        when event_type = 'complaint' then 'SpamComplaint'
        when event_type = 'deferred' then 'Transient'
        when event_type = 'dropped' then 'ManuallyDeactivated'
        when event_type = 'expired' then 'SoftBounce'
        when situation in ('spam_block', 'spam_content', 'policy_refused', 'relay_denied', 'sender_refused')
            then 'Blocked'
        when situation = 'authentication_failed' then 'DMARCPolicy'
        when situation in ('mailbox_full_refused', 'message_too_large') then 'SoftBounce'
        else 'HardBounce'
    end
"""

KINDS = {
    "AutoResponder": (32, "Auto responder", "Automatic e-mail responder"),
    "SpamComplaint": (100001, "Spam complaint", "The subscriber explicitly marked this message as spam."),
    "Transient": (2, "Message delayed", "The server could not temporarily deliver your message."),
    "ManuallyDeactivated": (100007, "Manually deactivated", "The address was deactivated by hand."),
    "SoftBounce": (4096, "Soft bounce", "Unable to deliver the message for a reason that may pass."),
    "Blocked": (100006, "ISP block", "Blocked from this ISP due to content or blacklisting."),
    "DMARCPolicy": (100009, "DMARC Policy", "Email rejected due to DMARC Policy."),
    "HardBounce": (1, "Hard bounce", "The server was unable to deliver your message."),
}


def of_kind(place: int) -> str:
    """SQL for what belongs to a bounce's kind."""
    cases = " ".join(f"when '{kind}' then {sql_literal(values[place])}" for kind, values in KINDS.items())
    return f"case {KIND} {cases} end"


def sql_literal(value: object) -> str:
    """A number or a text without quotes in it, in SQL."""
    return f"'{value}'" if isinstance(value, str) else str(value)


IS_DELIVERY = f"event_type = 'delivered' and copy in ({ITSELF}, {AGAIN})"

# Seven decimals; bounces in the zone of Postmark's servers.
IN_ZULU = "strftime(event_at, '%Y-%m-%dT%H:%M:%S.%f') || drawn % 10 || 'Z'"
WITH_OFFSET = "strftime(event_at - interval 5 hour, '%Y-%m-%dT%H:%M:%S.%f') || drawn % 10 || '-05:00'"

DETAILS = """
    case
        when origin = 'remote' or event_type = 'expired' then 'smtp;' || concat_ws(' ', code, enhanced_code, text)
        else text
    end
"""

COMMON = {
    "MessageID": MESSAGE_ID,
    "MessageStream": "case when campaign_id is null then 'outbound' else 'broadcast' end",
    "Tag": "case when campaign_id is null then '' when message_number % 4 <> 0 then campaign_id else tenant end",
    "Metadata": f"""case
        when campaign_id is not null and message_number % 4 = 0 then {json_object({"campaign": "campaign_id"})}
        else '{{}}'
    end::json""",
}

DELIVERY = json_object(
    {
        "RecordType": "'Delivery'",
        "ServerID": "case when message_number % 5 > 0 then 23 end",
        "ServerId": "case when message_number % 5 = 0 then 23 end",
        "Recipient": "recipient",
        "DeliveredAt": IN_ZULU,
        "Details": "reply",
    }
    | COMMON
)

OPEN = json_object(
    {
        "RecordType": "'Open'",
        "FirstOpen": "true",
        "Recipient": "recipient",
        "ReceivedAt": IN_ZULU,
        "UserAgent": "'Mozilla/5.0'",
    }
    | COMMON
)

BOUNCE = json_object(
    {
        "RecordType": "case when event_type = 'complaint' then 'SpamComplaint' else 'Bounce' end",
        "ID": "(drawn % 900000000000000)::bigint * 10 + recipient_number",
        "Type": KIND,
        "TypeCode": of_kind(0),
        "Name": of_kind(1),
        "Description": of_kind(2),
        "Details": f"case when copy = {ANSWERED} then 'Out of office' else {DETAILS} end",
        "ServerID": "23",
        "Email": "recipient",
        "From": "from_address",
        "BouncedAt": WITH_OFFSET,
        "DumpAvailable": "true",
        "Inactive": "event_type in ('bounced', 'complaint')",
        "CanActivate": "event_type <> 'complaint'",
        "Subject": "subject",
    }
    | COMMON
)


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write a file a day of each of two receivers."""
    return write_records(
        connection,
        f"""
            select
                'hook' || (1 + host_number) || '/{day.date}.jsonl.gz' as file_name,
                0 as part,
                case when {IS_DELIVERY} then {DELIVERY} when copy = {OPENED} then {OPEN} else {BOUNCE} end || chr(10)
                    as record,
            from (select *, unnest({COPIES}) as copy from today where event_type <> 'injected')
            order by file_name, event_at, message_number, step, recipient_number, copy
        """,
        directory,
    )


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply,
        case when event_type <> 'delivered' then from_domain end as from_domain, campaign_id,
        null::varchar as sending_ip,
    from today
    where event_type <> 'injected'
"""
