"""SendGrid's Event Webhook as two collectors store it: bodies as they came, an array a line, and events one a line.

Events come again, mostly under the same `sg_event_id`, sometimes under another. A campaign is a category; the From
domain is a unique argument that this sender adds, as no event would name it otherwise.
"""

from pathlib import Path

import duckdb

from flows.generate.files import json_object, write_records
from flows.generate.history import Day

EVENTS_A_BODY = 25

DIGEST = "md5('sendgrid:' || message_number)"
MESSAGE_ID = f"translate({DIGEST}[:22], '0123', 'GhJk')"

# Copies of an event: itself, sent again, sent again with another id, and what the reader did.
ITSELF, AGAIN, RENAMED, OPENED, CLICKED = range(5)

COPIES = f"""
    case
        when event_type = 'delivered' and drawn % 19 = 3 then [{ITSELF}, {OPENED}, {CLICKED}]
        when event_type = 'delivered' and drawn % 7 = 1 then [{ITSELF}, {OPENED}]
        when drawn % 53 = 3 then [{ITSELF}, {AGAIN}]
        when drawn % 131 = 7 then [{ITSELF}, {RENAMED}]
        else [{ITSELF}]
    end
"""

EVENT = """
    case event_type
        when 'injected' then 'processed'
        when 'delivered' then 'delivered'
        when 'deferred' then 'deferred'
        when 'dropped' then 'dropped'
        when 'complaint' then 'spamreport'
        else 'bounce'
    end
"""

IS_ATTEMPT = "attempt_number is not null"
IS_BOUNCE = "event_type in ('bounced', 'expired', 'out_of_band_bounce')"

BOUNCE_TYPE = """
    case
        when event_type = 'expired' then 'expired'
        -- Refused for what was sent or by whom: the address is not to blame.
        when situation in ('spam_block', 'spam_content', 'authentication_failed', 'policy_refused', 'sender_refused')
            then 'blocked'
        else 'bounce'
    end
"""

CLASSIFICATION = """
    case situation
        when 'spam_block' then 'Reputation'
        when 'spam_content' then 'Content'
        when 'authentication_failed' then 'Reputation'
        when 'mailbox_full_refused' then 'Mailbox Unavailable'
        when 'mailbox_inactive' then 'Mailbox Unavailable'
        when 'no_such_domain' then 'Technical Failure'
        when 'no_mail_domain' then 'Technical Failure'
        when 'expired' then 'Unclassified'
        when 'message_too_large' then 'Content'
        else 'Invalid Address'
    end
"""

# A report that came back by mail belongs to no connection, and SendGrid then leaves its own id of the message empty.
FIELDS = {
    "email": "recipient",
    "timestamp": "epoch_us(event_at) // 1000000",
    "smtp-id": f"'<' || {MESSAGE_ID} || '@geopod-ismtpd-' || message_number % 5 || '>'",
    "event": f"case copy when {OPENED} then 'open' when {CLICKED} then 'click' else {EVENT} end",
    "category": """case
        when campaign_id is null then null
        when message_number % 2 = 0 then to_json([campaign_id])
        else to_json(campaign_id)
    end""",
    "sg_event_id": f"""translate(
        case when copy = {AGAIN} then md5('event:' || token || recipient_number || {ITSELF})
        else md5('event:' || token || recipient_number || copy) end, '0123', 'GhJk'
    )[:22]""",
    "sg_message_id": f"""case
        when event_type = 'out_of_band_bounce' then ''
        else {MESSAGE_ID} || '.filterdrecv-' || host_number || '-' || {DIGEST}[23:32] || '-' || recipient_number || '.0'
    end""",
    "response": f"case when event_type in ('delivered', 'deferred') and copy < {OPENED} then reply end",
    "attempt": "case when event_type = 'deferred' then attempt_number::varchar end",
    "reason": f"case when {IS_BOUNCE} or event_type = 'dropped' then reply end",
    "status": f"""case
        when event_type = 'dropped' then '5.0.0'
        when event_type = 'expired' then '4.4.7'
        when {IS_BOUNCE} and origin = 'remote' then coalesce(enhanced_code, code)
    end""",
    "type": f"case when {IS_BOUNCE} then {BOUNCE_TYPE} end",
    "bounce_classification": f"case when {IS_BOUNCE} then {CLASSIFICATION} end",
    "ip": f"""case
        when copy >= {OPENED} then '198.51.100.230'
        when origin = 'remote' and {IS_ATTEMPT} then sending_ip
    end""",
    "tls": "case when event_type = 'delivered' then 1 end",
    "useragent": f"case when copy >= {OPENED} then 'Mozilla/5.0' end",
    "url": f"case when copy = {CLICKED} then 'https://www.' || from_domain || '/offer' end",
    "from_domain": "from_domain",
}


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write the day of each collector: bodies gzipped by stretches of hours, bare events in one file."""
    hours = day.hours_a_file
    return write_records(
        connection,
        f"""
            with copied as (
                select
                    * replace (
                        event_at + to_minutes(case when copy >= {OPENED} then copy::int * 2 + 5 else 0 end) as event_at
                    ),
                    event_at as carried_at,
                from (select *, unnest({COPIES}) as copy from today)
            ),

            rendered as (
                select
                    case host_number
                        when 0 then 'posts/' || strftime(
                            date_trunc('day', carried_at) + to_hours((hour(carried_at) // {hours} * {hours})::int),
                            '%Y-%m-%dT%H.jsonl.gz'
                        )
                        else 'collector/sendgrid-{day.date}.ndjson.gz'
                    end as file_name,
                    host_number,
                    {json_object(FIELDS)} as object,
                    row_number() over (
                        partition by file_name
                        order by event_at, message_number, step, recipient_number, copy
                    ) as place,
                from copied
            )

            select file_name, 0 as part, object || chr(10) as record, place from rendered where host_number <> 0
            union all
            select file_name, 0, '[' || string_agg(object, ',' order by place) || ']' || chr(10), min(place)
            from rendered
            where host_number = 0
            group by file_name, place // {EVENTS_A_BODY}
            order by file_name, place
        """,
        directory,
    )


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply, from_domain, campaign_id,
        case when origin = 'remote' and {IS_ATTEMPT} then sending_ip end as sending_ip,
    from today
"""
