"""Mailgun: webhook bodies, pages of the Events API that overlap, and bare events of an export.

A reply's code stands apart from its text, whose lines are kept. A campaign is a tag, or a user variable in the export.
"""

from pathlib import Path

import duckdb

from flows.generate.files import json_object, write_records
from flows.generate.history import Day

EVENTS_A_PAGE = 30

DIGEST = "md5('mailgun:' || message_number)"
MESSAGE_ID = f"'20260302.' || {DIGEST}[:16] || '@' || from_domain"
WAY = "['webhooks', 'pages', 'export'][1 + message_number % 3]"

ITSELF, AGAIN, OPENED, CLICKED = range(4)

COPIES = f"""
    case
        when event_type = 'delivered' and drawn % 19 = 3 then [{ITSELF}, {OPENED}, {CLICKED}]
        when event_type = 'delivered' and drawn % 7 = 1 then [{ITSELF}, {OPENED}]
        when drawn % 47 = 3 and {WAY} <> 'export' then [{ITSELF}, {AGAIN}]
        else [{ITSELF}]
    end
"""

IS_FAILURE = """(
    event_type in ('deferred', 'bounced', 'expired', 'out_of_band_bounce')
    or event_type = 'dropped' and fate = 'suppressed'
)"""

EVENT = f"""
    case
        when copy = {OPENED} then 'opened'
        when copy = {CLICKED} then 'clicked'
        when event_type = 'injected' then 'accepted'
        when event_type = 'delivered' then 'delivered'
        when event_type = 'complaint' then 'complained'
        when fate = 'content_rejected' then 'rejected'
        else 'failed'
    end
"""

REASON = """
    case
        when fate = 'suppressed' then 'suppress-bounce'
        when event_type = 'expired' then 'old'
        when event_type in ('bounced', 'out_of_band_bounce') and code >= '550' then 'bounce'
        else 'generic'
    end
"""

# 498, 499, 602 and 605 are Mailgun's own.
CODE = """
    case
        when origin = 'remote' then code::int
        when fate = 'suppressed' then 605
        when event_type = 'expired' then 602
        when event_type = 'bounced' then 498
        else 499
    end
"""

STATUS = json_object(
    {
        "code": CODE,
        "message": "case when origin = 'remote' then concat_ws(' ', enhanced_code, text) else '' end",
        "description": "case when origin = 'remote' then '' else text end",
        "enhanced-code": "case when origin = 'remote' then enhanced_code end",
        "attempt-no": "coalesce(attempt_number, 1)",
        "mx-host": "mx_host",
        "retry-seconds": "case when event_type = 'deferred' then 600 * attempt_number end",
        "session-seconds": "(drawn % 3000) / 1000.0",
        "tls": "case when mx_host is not null then true end",
    }
)

FIELDS = {
    "event": EVENT,
    "id": """translate(
        md5('mailgun:' || token || recipient_number || case when copy < 2 then 0 else copy end), '0123', 'GhJk'
    )[:22]""",
    # Seconds with a fraction, as a number.
    "timestamp": """(
        epoch_us(event_at) // 1000000 || '.' || lpad((epoch_us(event_at) % 1000000)::varchar, 6, '0')
    )::json""",
    "log-level": f"case when {IS_FAILURE} then 'error' else 'info' end",
    "severity": f"""case
        when copy > {AGAIN} then null
        when event_type = 'deferred' then 'temporary'
        when {IS_FAILURE} then 'permanent'
    end""",
    "reason": f"case when {IS_FAILURE} then {REASON} end",
    # A message that was refused as a whole names only the recipients of its header.
    "recipient": "case when coalesce(fate <> 'content_rejected' or event_type <> 'dropped', true) then recipient end",
    "recipient-domain": "domain",
    "reject": f"""case
        when event_type = 'dropped' and fate = 'content_rejected'
            then {json_object({"reason": "text", "description": "''"})}::json
    end""",
    "tags": f"case when campaign_id is not null and {WAY} <> 'export' then [campaign_id] else [] end",
    "campaigns": "[]::varchar[]",
    "user-variables": f"""case
        when campaign_id is not null and {WAY} = 'export' then {json_object({"campaign": "campaign_id"})} else '{{}}'
    end::json""",
    "envelope": f"""case
        when copy <= {AGAIN} and event_type in ('injected', 'deferred', 'delivered', 'bounced') then {
        json_object(
            {
                "sender": "envelope_sender",
                "sending-ip": "case when mx_host is not null then sending_ip end",
                "transport": "'smtp'",
                "targets": "recipient",
            }
        )
    }::json
    end""",
    "delivery-status": f"""case
        when copy <= {AGAIN} and ({IS_FAILURE} or event_type = 'delivered') then {STATUS}::json
    end""",
    "message": json_object(
        {
            "headers": json_object(
                {
                    "message-id": MESSAGE_ID,
                    "from": "from_name || ' <' || from_address || '>'",
                    "to": "array_to_string(destination, ', ')",
                    "subject": "subject",
                }
            )
            + "::json",
            "size": "18000 + message_number % 9000",
            "attachments": "[]::varchar[]",
        }
    )
    + "::json",
    "flags": json_object(
        {
            "is-routed": "false",
            "is-authenticated": "true",
            "is-system-test": "false",
            "is-test-mode": "false",
            "is-delayed-bounce": "case when event_type = 'out_of_band_bounce' then true end",
        }
    )
    + "::json",
}

BODY = json_object(
    {
        "signature": json_object(
            {
                "timestamp": "(epoch_us(event_at) // 1000000 + copy)::varchar",
                "token": "md5('token:' || token || recipient_number || copy)",
                "signature": "sha256('signature:' || token || recipient_number || copy)",
            }
        )
        + "::json",
        "event-data": "object::json",
    }
)

PAGING = json_object({"next": "'https://api.mailgun.example/v3/brand.example/events/' || md5(file_name || page)"})


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write a file of each kind: `webhooks` by stretches of hours, `pages` and `export` by the day."""
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
                    {WAY} as way,
                    case way
                        when 'webhooks' then strftime(
                            date_trunc('day', carried_at) + to_hours((hour(carried_at) // {hours} * {hours})::int),
                            'webhooks/%Y-%m-%d-%H.jsonl.gz'
                        )
                        when 'pages' then 'pages/events-{day.date}.json.gz'
                        else 'export/events-{day.date}.ndjson.gz'
                    end as file_name,
                    event_at, message_number, recipient_number, copy, token,
                    {json_object(FIELDS)} as object,
                    row_number() over (
                        partition by file_name
                        -- What a page repeats, it repeats at its beginning.
                        order by
                            event_at + to_minutes(case copy when {AGAIN} then 30 else 0 end),
                            message_number, step, recipient_number, copy
                    ) as place,
                    place // {EVENTS_A_PAGE} as page,
                from copied
            )

            select
                file_name, 0 as part, case way when 'webhooks' then {BODY} else object end || chr(10) as record, place,
            from rendered
            where way <> 'pages'
            union all
            select
                file_name, 0,
                '{{"items":[' || string_agg(object, ',' order by place) || '],"paging":' || {PAGING} || '}}' || chr(10),
                min(place),
            from rendered
            where way = 'pages'
            group by file_name, page
            order by file_name, place
        """,
        directory,
    )


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply, from_domain, campaign_id,
        case when mx_host is not null then sending_ip end as sending_ip,
    from today
"""
