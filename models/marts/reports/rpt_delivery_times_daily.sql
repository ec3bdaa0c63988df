{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with touched_dates as (
    select event_date from {{ ref('int_event_dates__touched') }}
),

{% if is_rebuilt() -%}
events as not materialized (
    select * from {{ ref('fct_delivery_events') }}
),
{%- else -%}
accepted as (
    select distinct
        message_recipient_id,
        message_group_id
    from {{ ref('fct_delivery_events') }}
    where event_type = 'delivered' and event_date in (select event_date from touched_dates)
),

read_days as (
    {{ days_of_groups('accepted') }}
),

events as (
    select events.*
    from {{ ref('fct_delivery_events') }} as events
    inner join read_days on events.event_date = read_days.event_date
    inner join accepted on events.message_recipient_id = accepted.message_recipient_id
),
{%- endif %}

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
