-- All events of the touched groups, with what the events of a message together tell of each other.

{{ config(materialized='view') }}

select
    logged.* replace (
        coalesce(corrected.event_id, logged.event_id) as event_id,
        coalesce(corrected.message_recipient_id, logged.message_recipient_id) as message_recipient_id,
        {%- for column in ['message_id', 'envelope_sender', 'from_domain', 'campaign_id'] %}
        case when corrected.event_id is null then logged.{{ column }} else corrected.{{ column }} end as {{ column }},
        {%- endfor %}
        coalesce(corrected.event_at, logged.event_at) as event_at,
        cast(coalesce(corrected.event_at, logged.event_at) as date) as event_date,
        coalesce(corrected.event_type, logged.event_type) as event_type,
        case when corrected.line is null then logged.native_event_type else 'expired' end as native_event_type,
        coalesce(
            corrected.is_attempt, logged.is_attempt and logged.event_type in ('delivered', 'deferred', 'bounced')
        ) as is_attempt,
        case
            when corrected.event_id is not null then corrected.attempt_number
            when logged.is_attempt and logged.event_type in ('delivered', 'deferred', 'bounced') then logged.attempt_number
        end as attempt_number,
        {%- for column in ['response_text', 'smtp_code', 'enhanced_code', 'mx_host', 'mx_ip'] %}
        case when corrected.reply is null then logged.{{ column }} else corrected.reply.{{ column }} end as {{ column }},
        {%- endfor %}
        case
            when corrected.reply is not null then corrected.reply.response_origin
            when corrected.line is not null then 'local'
            else logged.response_origin
        end as response_origin,
        {%- for column in ['source_file', 'file_digest', 'record_number', 'landed_at'] %}
        case when corrected.line is null then logged.{{ column }} else corrected.line.{{ column }} end as {{ column }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    )
from {{ ref('int_delivery_events__logged') }} as logged
left join {{ ref('int_delivery_events__corrected') }} as corrected on logged.event_id = corrected.logged_event_id
