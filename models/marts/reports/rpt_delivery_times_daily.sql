-- depends_on: {{ ref('int_logged_days__touched') }}
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

{% if is_incremental() -%}
-- Of messages that the batch says nothing of, the last build has told how long they took at most: only where that has no bound
-- have their days to be looked for in all of history.
spans as (
    select
        event_date,
        max(seconds_to) as seconds_to,
        bool_or(seconds_to is null) as is_unbounded
    from {{ this }}
    where event_date in (select event_date from touched_dates)
    group by event_date
),

slowly_accepted as (
    select message_group_id from {{ ref('fct_delivery_events') }}
    where
        event_type = 'delivered'
        and event_date in (
            select event_date from spans
            where is_unbounded
        )
),

slow_days as (
    {{ days_of_groups('slowly_accepted') }}
),

read_days as (
    select event_date from {{ ref('int_logged_days__touched') }}
    union
    select event_date - cast(unnest(range(1 + seconds_to // 86400)) + 1 as integer) as event_date
    from spans
    union
    select event_date from touched_dates
    union
    select event_date from slow_days
),
{%- else -%}
read_days as (
    {{ days_of_groups('accepted') }}
),
{%- endif %}

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
