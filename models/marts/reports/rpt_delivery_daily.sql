{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    count(*) filter (event_type = 'injected') as injected_count,
    count(*) filter (is_attempt) as attempt_count,
    count(*) filter (event_type = 'delivered') as delivered_count,
    count(*) filter (event_type = 'delivered' and attempt_number = 1) as delivered_first_attempt_count,
    count(*) filter (event_type = 'deferred' and is_attempt) as deferred_count,
    count(*) filter (event_type = 'deferred' and attempt_number = 1) as deferred_first_attempt_count,
    count(*) filter (event_type = 'bounced') as bounced_count,
    count(*) filter (event_type = 'expired') as expired_count,
    count(*) filter (event_type = 'dropped') as dropped_count,
    count(*) filter (event_type = 'out_of_band_bounce') as out_of_band_bounce_count,
    count(*) filter (event_type = 'complaint') as complaint_count
from {{ ref('fct_delivery_events') }}
where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
group by all
