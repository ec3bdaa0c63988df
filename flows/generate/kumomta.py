"""KumoMTA's JSON log segments: zstd without an extension, a frame for each time the log was opened.

What the records hold follows kumod's `log_disposition`: an out-of-band bounce carries the id of the report that came
in, and the sender address that the report was sent to; a complaint is a reception with a feedback report.
"""

from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import Day

RECORD_TYPES = """
    case event_type
        when 'injected' then 'Reception'
        when 'delivered' then 'Delivery'
        when 'deferred' then 'TransientFailure'
        when 'bounced' then 'Bounce'
        when 'expired' then 'Expiration'
        when 'dropped' then 'AdminBounce'
        when 'out_of_band_bounce' then 'OOB'
        when 'complaint' then 'Feedback'
    end
"""

MESSAGE_ID = "md5('kumomta:' || message_number || ':' || receiver_id)"
"""One spooled message for each receiving domain: a queue belongs to one."""

# A campaign stands in the queue's name, in the metadata, or in both, by the pool that sends.
HAS_CAMPAIGN_QUEUE = "host_number <> 1"
HAS_CAMPAIGN_META = "host_number <> 2"
HAS_FROM_HEADER = "message_number % 5 <> 0"


RESPONSE_SQL = """
    case event_type
        when 'injected' then {'code': 250, 'enhanced_code': null, 'content': '', 'command': null}
        when 'complaint' then {'code': 250, 'enhanced_code': null, 'content': '', 'command': null}
        -- The report's diagnostic is split at its first space only.
        when 'out_of_band_bounce' then {
            'code': code::int, 'enhanced_code': null, 'content': concat_ws(' ', enhanced_code, text), 'command': null
        }
        else {
            'code': code::int,
            'enhanced_code': case when enhanced_code is not null then {
                'class': split_part(enhanced_code, '.', 1)::int,
                'subject': split_part(enhanced_code, '.', 2)::int,
                'detail': split_part(enhanced_code, '.', 3)::int,
            } end,
            'content': text,
            'command': case
                when command = 'RCPT TO' then 'RCPT TO:<' || recipient || '>'
                when command = 'MAIL FROM' then 'MAIL FROM:<' || envelope_sender || '>'
                else command
            end,
        }
    end
"""

IS_REPORT = "event_type in ('out_of_band_bounce', 'complaint')"

RECORD_SQL = f"""
    to_json({{
        'type': case when copy = 2 then 'Delayed' else {RECORD_TYPES} end,
        'id': case when {IS_REPORT} then md5('report:' || token) else {MESSAGE_ID} end,
        'sender': case when event_type = 'complaint' then 'fbl@' || domain else envelope_sender end,
        'recipient': case
            when event_type = 'complaint' then to_json('fbl@bounce.' || from_domain) else recipients_json
        end,
        'queue': case
            when {IS_REPORT} then 'bounce.' || from_domain
            when campaign_id is not null and {HAS_CAMPAIGN_QUEUE} then campaign_id || ':' || tenant || '@' || domain
            else tenant || '@' || domain
        end,
        'site': coalesce('ip-' || host_number || '->' || mx_host || '@smtp_client', ''),
        'size': case when {IS_REPORT} then 4100 else 18000 + message_number % 9000 end,
        'response': {RESPONSE_SQL},
        'peer_address': case
            when event_type = 'injected' then {{'name': 'app1.internal.example', 'addr': '192.0.2.80'}}
            when {IS_REPORT} then {{'name': 'report.' || domain || '.', 'addr': tried_ip}}
            when mx_host is not null then {{'name': mx_host || '.', 'addr': mx_ip}}
        end,
        'timestamp': epoch_us(event_at) // 1000000,
        'event_time': strftime(event_at, '%Y-%m-%dT%H:%M:%S.%f') || lpad((drawn % 1000)::varchar, 3, '0') || 'Z',
        'created': epoch_us(case when {IS_REPORT} then event_at else injected_at end) // 1000000,
        'created_time': strftime(case when {IS_REPORT} then event_at else injected_at end, '%Y-%m-%dT%H:%M:%S.%fZ'),
        'num_attempts': case
            when event_type = 'expired' then step - 1
            when event_type in ('injected', 'complaint', 'out_of_band_bounce') then 0
            else step - 1
        end,
        'bounce_classification': 'Uncategorized',
        'egress_pool': case when event_type <> 'injected' and not {IS_REPORT} then tenant || '-pool' end,
        'egress_source': case when attempt_number is not null then 'ip-' || host_number end,
        'source_address': case when mx_host is not null then {{
            'address': sending_ip || ':' || (32768 + drawn % 28000), 'protocol': null, 'server': null
        }} end,
        'feedback_report': case when event_type = 'complaint' then {{
            'feedback_type': 'abuse', 'user_agent': domain || '-fbl/2.1', 'version': '1',
            'arrival_date': strftime(injected_at, '%Y-%m-%dT%H:%M:%SZ'), 'incidents': null,
            'original_envelope_id': null, 'original_mail_from': envelope_sender, 'reporting_mta': null,
            'source_ip': sending_ip, 'authentication_results': [], 'original_rcpt_to': [recipient],
            'reported_domain': [from_domain], 'reported_uri': [], 'extensions': '{{}}'::json,
            'original_message': null, 'supplemental_trace': null
        }} end,
        'meta': case
            when campaign_id is not null and {HAS_CAMPAIGN_META} and not {IS_REPORT}
                then json_object('campaign', campaign_id, 'tenant', tenant)
            else '{{}}'::json
        end,
        'headers': case
            when {HAS_FROM_HEADER} and not {IS_REPORT}
                then json_object('From', from_name || ' <' || from_address || '>', 'Subject', subject)
            else '{{}}'::json
        end,
        'delivery_protocol': case when mx_host is not null then 'ESMTP' end,
        'reception_protocol': 'ESMTP',
        'nodeid': '5f1d2c3e-0000-4000-8000-00000000000' || (host_number % 2),
        'tls_cipher': case when mx_host is not null then 'TLS_AES_256_GCM_SHA384' end,
        'tls_protocol_version': case when mx_host is not null then 'TLSv1.3' end,
        'tls_peer_subject_name': case when mx_host is not null then ['CN=' || mx_host] end,
        'provider_name': null,
        'session_id': case when mx_host is not null then md5('session:' || token) end
    }})::varchar
"""

OVERLAPPING_DAY = 2
"""On this day of the period (from 0) the second node's first frames were also saved elsewhere, as after a crash."""

RECORDS_SQL = f"""
    with exchanges as (
        select
            message_number, step, min(recipient_number) as recipient_number,
            list(recipient order by recipient_number) as recipient_list,
        from today
        where recipients > 1
        group by message_number, step, receiver_id, event_type, event_at, reply
    ),

    grouped as (
        select *, to_json(recipient) as recipients_json from today where recipients = 1
        union all
        -- Recipients who got the same reply in one transaction share a record.
        select today.*, to_json(recipient_list)
        from today
        inner join exchanges using (message_number, step, recipient_number)
    ),

    -- One record of many is written twice, and some deferrals are followed by a record that is no attempt.
    copied as (
        select *, unnest(case
            when drawn % 331 = 7 then [0, 1]
            when event_type = 'deferred' and drawn % 23 = 5 then [0, 2]
            else [0]
        end) as copy
        from grouped
    ),

    placed as (
        select
            *,
            -- Newer versions write fractions of a second into the name of a segment, and the documents none.
            strftime(date_trunc('day', event_at) + to_hours((hour(event_at) // $hours * $hours)::int), '%Y%m%d-%H%M%S')
                || case when host_number % 2 = 0 then '.084113926' else '' end as segment,
            -- The log is reopened once within a segment's time.
            (hour(event_at) % $hours * 2 // $hours)::int as part,
        from copied
    ),

    filed as (
        select
            *,
            unnest(case
                when host_number % 2 = 0 then ['kumo1/']
                when $overlaps and part = 0 then ['kumo2/', 'kumo2/recovered/']
                else ['kumo2/']
            end) || segment as file_name,
        from placed
    )

    select file_name, part, {RECORD_SQL} || chr(10) as record
    from filed
    order by file_name, part, event_at, message_number, receiver_id, step, recipient_number, copy
"""


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write segments of `day.hours_a_file` hours, by node."""
    query = RECORDS_SQL.replace("$hours", str(day.hours_a_file)).replace(
        "$overlaps", str(day.number == OVERLAPPING_DAY).lower()
    )
    return write_records(connection, query, directory)


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply,
        case when {HAS_FROM_HEADER} and not {IS_REPORT} then from_domain end as from_domain,
        case when not {IS_REPORT} then campaign_id end as campaign_id,
        case when mx_host is not null then sending_ip end as sending_ip,
    from today
"""
