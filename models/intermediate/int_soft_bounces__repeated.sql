-- Soft bounces that suppress, where that option is on: the last of so many days with one, within a window and with no
-- delivery between. Without the option there are none, and nothing is read.

{{ config(materialized='view') }}

with events as (
    select * from {{ ref('fct_delivery_events') }}
    where {{ var('soft_bounce_days') }} > 0 and recipient is not null
),

-- a delivery begins the count anew
counted as (
    select
        *,
        max(case when event_type = 'delivered' then event_at end) over (
            partition by recipient
            order by event_at, event_id
            rows between unbounded preceding and 1 preceding
        ) as delivered_at
    from events
    where event_type = 'delivered' or (is_attempt and bounce_class = 'soft')
),

first_of_days as (
    select * from counted
    where bounce_class = 'soft'
    qualify row_number() over (partition by recipient, delivered_at, event_date order by event_at, event_id) = 1
)

select * from first_of_days
qualify
    event_date - lag(event_date, greatest({{ var('soft_bounce_days') }} - 1, 0)) over (
        partition by recipient, delivered_at
        order by event_date
    ) < {{ var('soft_bounce_window_days') }}
