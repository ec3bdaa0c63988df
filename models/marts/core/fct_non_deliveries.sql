{{ config(materialized='view') }}

select
    message_recipient_id,
    source_name,
    message_id,
    recipient,
    recipient_domain,
    provider,
    envelope_sender,
    from_domain,
    sending_ip,
    campaign_id,
    cause,
    undelivered_at,
    undelivered_date,
    first_event_at,
    attempt_count,
    deciding_event_id,
    text_id,
    reason,
    bounce_class,
    response_text
from {{ ref('fct_messages') }}
where outcome = 'undelivered'
