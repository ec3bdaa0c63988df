{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with counted as (
    select
        event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
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
    union all by name
    -- what is retained of events that have gone
    select retained.* replace ({{ retained_provider('retained') }} as provider)
    from {{ source('landing', 'retained_delivery_counts') }} as retained
    where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    provider,
    cast(sum(injected_count) as bigint) as injected_count,
    cast(sum(attempt_count) as bigint) as attempt_count,
    cast(sum(delivered_count) as bigint) as delivered_count,
    cast(sum(delivered_first_attempt_count) as bigint) as delivered_first_attempt_count,
    cast(sum(deferred_count) as bigint) as deferred_count,
    cast(sum(deferred_first_attempt_count) as bigint) as deferred_first_attempt_count,
    cast(sum(bounced_count) as bigint) as bounced_count,
    cast(sum(expired_count) as bigint) as expired_count,
    cast(sum(dropped_count) as bigint) as dropped_count,
    cast(sum(out_of_band_bounce_count) as bigint) as out_of_band_bounce_count,
    cast(sum(complaint_count) as bigint) as complaint_count
from counted
group by all
