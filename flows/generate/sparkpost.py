"""SparkPost: webhook batches with their `msys` wrappers, pings among them, and pages of the Events API without.

Some events come both ways: by webhook with whole seconds (a number or a text), by API in ISO 8601.
"""

from pathlib import Path

import duckdb

from flows.generate.files import json_object, write_records
from flows.generate.history import Day

EVENTS_A_BATCH = 20

DIGEST = "md5('sparkpost:' || message_number || ':' || recipient_number)"
MESSAGE_ID = f"'00' || {DIGEST}[:18]"
"""Of its own for each recipient: it is the transmission that recipients share."""

# Copies of an event: itself, by the same way again, by the other way too, and what the reader did.
ITSELF, AGAIN, BY_THE_OTHER, OPENED, CLICKED = range(5)

COPIES = f"""
    case
        when event_type = 'delivered' and drawn % 19 = 3 then [{ITSELF}, {OPENED}, {CLICKED}]
        when event_type = 'delivered' and drawn % 7 = 1 then [{ITSELF}, {OPENED}]
        when drawn % 83 = 3 then [{ITSELF}, {AGAIN}]
        when drawn % 71 = 9 then [{ITSELF}, {BY_THE_OTHER}]
        else [{ITSELF}]
    end
"""

TYPE = f"""
    case
        when copy = {OPENED} then 'open'
        when copy = {CLICKED} then 'click'
        when event_type = 'injected' then 'injection'
        when event_type = 'delivered' then 'delivery'
        when event_type = 'deferred' then 'delay'
        when event_type = 'out_of_band_bounce' then 'out_of_band'
        when event_type = 'complaint' then 'spam_complaint'
        when fate in ('suppressed', 'content_rejected') then 'policy_rejection'
        else 'bounce'
    end
"""

HAS_REASON = "event_type in ('deferred', 'bounced', 'expired', 'dropped', 'out_of_band_bounce')"

BOUNCE_CLASS = """
    case
        when event_type = 'expired' then '24'
        when fate = 'removed' and event_type = 'dropped' then '25'
        when fate = 'suppressed' then '80'
        when situation in ('user_unknown', 'user_unknown_late', 'mailbox_inactive') then '10'
        when situation in ('no_such_domain', 'no_mail_domain', 'unreachable') then '21'
        when situation in ('mailbox_full', 'mailbox_full_refused') then '22'
        when situation = 'message_too_large' then '23'
        when situation in ('spam_block', 'reputation_deferred') then '52'
        when situation in ('spam_content', 'content_rejected') then '51'
        when situation = 'relay_denied' then '30'
        when situation in ('authentication_failed', 'authentication_deferred', 'policy_refused') then '50'
        else '20'
    end
"""

HAS_CONNECTION = "origin = 'remote' and attempt_number is not null"
IS_REPORT = "event_type in ('out_of_band_bounce', 'complaint')"

FIELDS = {
    "type": TYPE,
    "event_id": f"""case
        when message_number % 3 = 0 then (drawn % 1000000000000000000)::varchar || recipient_number
        else token[:8] || '-' || token[9:12] || '-' || token[13:16] || '-' || token[17:20] || '-' || token[21:31]
            || recipient_number
    end || case when copy >= {OPENED} then copy::varchar else '' end""",
    "timestamp": """case
        when way = 'pages' then to_json(strftime(event_at, '%Y-%m-%dT%H:%M:%S.000Z'))
        when message_number % 2 = 0 then to_json((epoch_us(event_at) // 1000000)::varchar)
        else to_json(epoch_us(event_at) // 1000000)
    end""",
    "message_id": MESSAGE_ID,
    "transmission_id": "(65832150921904138 + message_number)::varchar",
    "customer_id": "'1'",
    "subaccount_id": "case when tenant <> 'marketing' then '10' || host_number end",
    "rcpt_to": "recipient",
    "raw_rcpt_to": "recipient",
    "rcpt_tags": "[]::varchar[]",
    "rcpt_meta": "'{}'::json",
    "msg_from": "envelope_sender",
    "friendly_from": f"case when not {IS_REPORT} then from_address end",
    "subject": f"case when not {IS_REPORT} then subject end",
    "campaign_id": "coalesce(campaign_id, '')",
    "template_id": "'template-' || mailbox",
    "routing_domain": "domain",
    "ip_pool": "tenant",
    "sending_ip": f"case when {HAS_CONNECTION} and copy < {OPENED} then sending_ip end",
    "ip_address": f"case when copy >= {OPENED} then '198.51.100.230' when {HAS_CONNECTION} then mx_ip end",
    "delv_method": "'esmtp'",
    "num_retries": f"case when attempt_number is not null and copy < {OPENED} then (attempt_number - 1)::varchar end",
    "queue_time": "case when attempt_number is not null then epoch_ms(event_at - injected_at)::varchar end",
    "error_code": f"case when {HAS_REASON} then coalesce(code, regexp_extract(text, '^\\d+')) end",
    "bounce_class": f"case when {HAS_REASON} then {BOUNCE_CLASS} end",
    "raw_reason": f"case when {HAS_REASON} then reply end",
    "reason": f"case when {HAS_REASON} then replace(reply, sending_ip, 'x.x.x.x') end",
    "fbtype": "case when event_type = 'complaint' then 'abuse' end",
    "report_by": "case when event_type = 'complaint' then 'report.' || domain end",
    "user_agent": f"case when copy >= {OPENED} then 'Mozilla/5.0' end",
    "target_link_url": f"case when copy = {CLICKED} then 'https://www.' || from_domain || '/offer' end",
}

WRAPPED = f"""
    '{{"msys":{{"' || case when copy >= {OPENED} then 'track_event' else 'message_event' end || '":' || object || '}}}}'
"""

PING = '[{"msys":{}}]'


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write batches by stretches of hours, each file beginning with the ping of a receiver that was set up anew."""
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
                    ['webhooks', 'pages'][1 + (host_number + (copy = {BY_THE_OTHER})::int) % 2] as way,
                from (select *, unnest({COPIES}) as copy from today)
            ),

            rendered as (
                select
                    way,
                    case way
                        when 'webhooks' then strftime(
                            date_trunc('day', carried_at) + to_hours((hour(carried_at) // {hours} * {hours})::int),
                            'webhooks/batches-%Y-%m-%d-%H.jsonl.gz'
                        )
                        else 'pages/events-{day.date}.json.gz'
                    end as file_name,
                    copy,
                    {json_object(FIELDS)} as object,
                    row_number() over (
                        partition by file_name
                        order by event_at, message_number, step, recipient_number, copy
                    ) as place,
                    place // {EVENTS_A_BATCH} as batch,
                from copied
            ),

            joined as (
                select
                    file_name, batch,
                    case way
                        when 'webhooks' then '[' || string_agg({WRAPPED}, ',' order by place) || ']'
                        else '{{"results":[' || string_agg(object, ',' order by place) || '],"total_count":'
                            || count(*) || ',"links":{{}}}}'
                    end as record,
                from rendered
                group by file_name, way, batch
                union all
                select distinct file_name, -1, '{PING}' from rendered where way = 'webhooks'
            )

            select file_name, 0 as part, record || chr(10) as record from joined order by file_name, batch
        """,
        directory,
    )


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        -- A delivery comes without what the remote said.
        case when event_type <> 'delivered' then code end as code,
        case when event_type <> 'delivered' then enhanced_code end as enhanced_code,
        case when event_type <> 'delivered' then reply end as reply,
        case when not {IS_REPORT} then from_domain end as from_domain, campaign_id,
        case when {HAS_CONNECTION} then sending_ip end as sending_ip,
    from today
"""
