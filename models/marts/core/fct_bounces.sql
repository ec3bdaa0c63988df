{{ config(materialized='view') }}

with events as (
    select * from {{ ref('fct_delivery_events') }}
),

links as (
    select * from {{ ref('fct_report_links') }}
)

select
    events.event_id,
    events.source_name,
    events.event_at,
    events.event_date,
    events.event_type,
    events.bounce_class,
    events.event_type in ('bounced', 'out_of_band_bounce') as is_final,
    case when links.message_recipient_id is null then events.message_id else links.message_id end as message_id,
    coalesce(links.message_recipient_id, events.message_recipient_id) as message_recipient_id,
    events.attempt_number,
    events.recipient,
    events.recipient_domain,
    events.provider,
    coalesce(links.envelope_sender, events.envelope_sender) as envelope_sender,
    coalesce(links.from_domain, events.from_domain) as from_domain,
    coalesce(links.sending_ip, events.sending_ip) as sending_ip,
    coalesce(links.campaign_id, events.campaign_id) as campaign_id,
    events.mx_host,
    events.mx_ip,
    events.smtp_code,
    events.enhanced_code,
    events.response_text,
    events.response_origin,
    events.native_class,
    events.text_id,
    events.reason,
    events.rule_id
from events
left join links on events.event_id = links.event_id
-- every attempt that was refused, and every refusal that came after an acceptance; an expiry is no further attempt
where
    (events.event_type = 'out_of_band_bounce' and not coalesce(links.is_notice, false))
    or (events.event_type in ('deferred', 'bounced') and events.is_attempt)
