-- Soft bounces that suppress, where that option is on: the last of so many days with one, within a window and with no
-- delivery between. Without the option there are none, and nothing is read.

{{ config(materialized='view') }}

with events as (
    select
        event_id,
        source_name,
        event_at,
        event_date,
        event_type,
        is_attempt,
        bounce_class,
        recipient,
        recipient_domain,
        mx_host,
        campaign_id,
        text_id,
        reason,
        rule_id,
        response_text
    from {{ ref('fct_delivery_events') }}
    where {{ var('soft_bounce_days') }} > 0 and recipient is not null
    union all by name
    select
        address as recipient,
        delivered_at as event_at,
        'delivered' as event_type
    from {{ source('landing', 'retained_deliveries') }}
    where {{ var('soft_bounce_days') }} > 0
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
),

repeated as (
    select * from first_of_days
    qualify
        event_date - lag(event_date, greatest({{ var('soft_bounce_days') }} - 1, 0)) over (
            partition by recipient, delivered_at
            order by event_date
        ) < {{ var('soft_bounce_window_days') }}
),

-- what suppressed before retention dropped it, or a bounce that it followed
retained as (
    select
        *,
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id
    from {{ source('landing', 'retained_evidence') }}
    where
        {{ var('soft_bounce_days') }} > 0
        and cause = 'soft_bounces'
        and event_id not in (select event_id from repeated)
)

select
    event_id,
    source_name,
    event_at,
    event_type,
    recipient,
    recipient_domain,
    mx_host,
    campaign_id,
    text_id,
    reason,
    rule_id,
    response_text
from repeated
union all
select
    retained.event_id,
    retained.source_name,
    retained.event_at,
    retained.event_type,
    retained.address as recipient,
    retained.recipient_domain,
    retained.mx_host,
    retained.campaign_id,
    judgements.text_id,
    judgements.reason,
    judgements.rule_id,
    retained.response_text
from retained
left join {{ ref('int_bounce_texts__judged') }} as judgements on retained.judgement_id = judgements.judgement_id
