-- All events of the touched groups, with what the events of a message together tell of each other.

{{ config(materialized='view') }}

{%- set of_message = ['message_id', 'envelope_sender', 'from_domain', 'campaign_id'] %}
{%- set of_reply = ['response_text', 'smtp_code', 'enhanced_code', 'mx_host', 'mx_ip'] %}
{%- set of_line = ['source_file', 'file_digest', 'record_number', 'landed_at'] %}

{#- not by steps of their own: the engine would write both down, as they are read twice #}
{%- set logged, corrected = ref('int_delivery_events__logged'), ref('int_delivery_events__corrected') %}

-- joined by the day, too: whoever wants some days only has these read of both
select
    logged.* replace (
        coalesce(corrected.message_recipient_id, logged.message_recipient_id) as message_recipient_id,
        {%- for column in of_message %}
        case when corrected.event_id is null then logged.{{ column }} else corrected.{{ column }} end as {{ column }},
        {%- endfor %}
        coalesce(corrected.event_type, logged.event_type) as event_type,
        coalesce(
            corrected.is_attempt, logged.is_attempt and logged.event_type in ('delivered', 'deferred', 'bounced')
        ) as is_attempt,
        case
            when corrected.event_id is not null then corrected.attempt_number
            when logged.is_attempt and logged.event_type in ('delivered', 'deferred', 'bounced') then logged.attempt_number
        end as attempt_number,
        {%- for column in of_reply %}
        case when corrected.reply is null then logged.{{ column }} else corrected.reply.{{ column }} end as {{ column }},
        {%- endfor %}
        case when corrected.reply is null then logged.response_origin else corrected.reply.response_origin end as response_origin
    )
from {{ logged }} as logged
left join {{ corrected }} as corrected
    on
        logged.event_id = corrected.logged_event_id
        and logged.event_date = corrected.event_date
        and corrected.line is null
union all by name
-- what a queue manager gave up: events of their own, of a line that names no recipient
select
    logged.* replace (
        corrected.event_id as event_id,
        corrected.message_recipient_id as message_recipient_id,
        {%- for column in of_message %}
        corrected.{{ column }} as {{ column }},
        {%- endfor %}
        corrected.event_at as event_at,
        corrected.event_date as event_date,
        corrected.event_type as event_type,
        'expired' as native_event_type,
        corrected.is_attempt as is_attempt,
        corrected.attempt_number as attempt_number,
        {%- for column in of_reply %}
        case when corrected.reply is null then logged.{{ column }} else corrected.reply.{{ column }} end as {{ column }},
        {%- endfor %}
        case when corrected.reply is null then 'local' else corrected.reply.response_origin end as response_origin,
        {%- for column in of_line %}
        corrected.line.{{ column }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
from {{ logged }} as logged
inner join {{ corrected }} as corrected on logged.event_id = corrected.logged_event_id
where
    corrected.line is not null
    -- only such are given up; and the engine would write down what both sides read the same of
    and logged.event_type = 'deferred'
