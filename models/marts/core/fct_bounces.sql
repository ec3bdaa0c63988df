{{ config(materialized='view') }}

select
    event_id,
    source_name,
    event_at,
    event_date,
    event_type,
    bounce_class,
    event_type in ('bounced', 'out_of_band_bounce') as is_final,
    message_id,
    message_recipient_id,
    attempt_number,
    recipient,
    recipient_domain,
    envelope_sender,
    from_domain,
    sending_ip,
    campaign_id,
    mx_host,
    mx_ip,
    smtp_code,
    enhanced_code,
    response_text,
    response_origin,
    native_class,
    text_id,
    reason,
    rule_id
from {{ ref('fct_delivery_events') }}
-- every attempt that was refused, and every refusal that came after an acceptance; an expiry is no further attempt
where event_type = 'out_of_band_bounce' or (event_type in ('deferred', 'bounced') and is_attempt)
