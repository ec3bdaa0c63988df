{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with touched_dates as (
    select event_date from {{ ref('int_event_dates__touched') }}
),

accepted as (
    select message_recipient_id from {{ ref('fct_delivery_events') }}
    where event_type = 'delivered' and event_date in (select event_date from touched_dates)
),

events as (
    select * from {{ ref('fct_delivery_events') }}
    where message_recipient_id in (select message_recipient_id from accepted)
),

deliveries as (
    {{ delivery_times('events') }}
),

counted as (
    select
        *,
        1 as delivered_count
    from deliveries
    union all by name
    -- what is retained of messages that have gone
    select * replace ({{ bucket_start('seconds_from') }} as seconds_from)
    from {{ source('landing', 'retained_delivery_times') }}
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    provider,
    attempt_number,
    seconds_from,
    {{ bucket_end('seconds_from') }} as seconds_to,
    cast(sum(delivered_count) as bigint) as delivered_count
from counted
where event_date in (select event_date from touched_dates)
group by all
