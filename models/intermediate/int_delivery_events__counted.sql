-- Delivery events by day, counted by kind. A report that came apart counts for the sender, campaign and IP of the message
-- that it speaks of, as in fct_bounces.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with links as (
    select * from {{ ref('int_report_links__found') }}
),

events as (
    select * from {{ ref('fct_delivery_events') }}
    where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
)

select
    events.event_date,
    events.source_name,
    coalesce(links.campaign_id, events.campaign_id) as campaign_id,
    coalesce(links.from_domain, events.from_domain) as from_domain,
    coalesce(links.sending_ip, events.sending_ip) as sending_ip,
    events.recipient_domain,
    events.provider,
    count(*) filter (events.event_type = 'injected') as injected_count,
    count(*) filter (events.is_attempt) as attempt_count,
    count(*) filter (events.event_type = 'delivered') as delivered_count,
    count(*) filter (events.event_type = 'delivered' and events.attempt_number = 1) as delivered_first_attempt_count,
    count(*) filter (events.event_type = 'deferred' and events.is_attempt) as deferred_count,
    count(*) filter (events.event_type = 'deferred' and events.attempt_number = 1) as deferred_first_attempt_count,
    count(*) filter (events.event_type = 'bounced') as bounced_count,
    count(*) filter (events.event_type = 'bounced' and events.attempt_number = 1) as bounced_first_attempt_count,
    count(*) filter (events.event_type = 'expired') as expired_count,
    count(*) filter (events.event_type = 'dropped') as dropped_count,
    count(*) filter (events.event_type = 'out_of_band_bounce') as out_of_band_bounce_count,
    count(*) filter (events.event_type = 'complaint') as complaint_count
from events
left join links on events.event_id = links.event_id
group by all
union all by name
-- what is retained of events that have gone
select retained.* exclude (suppressed_send_count) replace ({{ retained_provider('retained') }} as provider)
from {{ source('landing', 'retained_delivery_counts') }} as retained
where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
