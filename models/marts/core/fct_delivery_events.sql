-- depends_on: {{ ref('int_message_groups__touched') }}
-- depends_on: {{ ref('int_logged_days__touched') }}
-- depends_on: {{ ref('int_staged_events__collected') }}
{{ config(
    materialized='incremental',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__touched'},
    days={'column': 'event_date', 'model': 'int_logged_days__touched'},
    spread_by_days='int_staged_events__collected',
    order_by='event_date, message_group_id',
) }}

with completed as (
    select
        *,
        {{ address_domain('recipient') }} as recipient_domain
    from {{ ref('int_delivery_events__completed') }}
),

replies as (
    select * from {{ ref('int_bounce_replies__masked') }}
),

judgements as (
    select * from {{ ref('int_bounce_texts__judged') }}
),

providers as (
    select * from {{ ref('int_providers__found') }}
)

select
    completed.event_id,
    completed.source_name,
    completed.message_group_id,
    completed.native_event_id,
    completed.native_event_type,
    completed.event_at,
    completed.event_date,
    completed.event_type,
    completed.is_attempt,
    completed.message_id,
    completed.message_recipient_id,
    cast(completed.attempt_number as integer) as attempt_number,
    completed.recipient,
    completed.recipient_domain,
    providers.provider,
    completed.envelope_sender,
    completed.from_domain,
    completed.sending_ip,
    completed.campaign_id,
    completed.mx_host,
    completed.mx_ip,
    cast(completed.smtp_code as smallint) as smtp_code,
    completed.enhanced_code,
    completed.response_text,
    completed.response_origin,
    completed.native_class,
    judgements.text_id,
    {{ bounce_class('completed.smtp_code', 'completed.enhanced_code', 'completed.event_type') }} as bounce_class,
    case
        -- an address that was on the sender's or provider's list was not tried: no rule judges words nobody said
        when completed.event_type = 'dropped' and {{ regex_matches('lower(completed.native_class)', 'suppress') }}
            then 'suppressed'
        else judgements.reason
    end as reason,
    judgements.rule_id,
    completed.source_file,
    cast(completed.record_number as bigint) as source_record,
    completed.landed_at
from completed
left join replies on completed.event_id = replies.event_id
left join judgements on replies.judgement_id = judgements.judgement_id
left join providers
    on
        completed.recipient_domain is not distinct from providers.recipient_domain
        and completed.mx_host is not distinct from providers.mx_host
