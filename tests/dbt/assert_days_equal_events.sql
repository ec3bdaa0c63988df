-- Guards: a day that a build should have replaced, or counted again, and did not. Day by day, over all days, the daily marts and
-- what is kept by file add up to the events themselves, to what ended undelivered or was sent in vain, and to what is retained
-- of those that have gone. All events are read once for it, in few columns.

with kept as (
    select
        event_date,
        event_count
    from {{ ref('int_file_events__counted') }}
    where event_count is not null
    union all by name
    select
        event_date,
        attempt_count,
        undelivered_count,
        suppressed_send_count
    from {{ ref('rpt_delivery_daily') }}
    union all by name
    select
        event_date,
        bounce_count
    from {{ ref('rpt_bounces_daily') }}
),

told as (
    select
        event_date,
        count(*) as event_count,
        count(*) filter (is_attempt) as attempt_count,
        -- not from fct_bounces, which is made as the report is
        count(*) filter (
            event_type = 'out_of_band_bounce' or (event_type in ('deferred', 'bounced') and is_attempt)
        ) as bounce_count
    from {{ ref('fct_delivery_events') }}
    group by event_date
    union all by name
    select
        report_date as event_date,
        -1 as bounce_count
    from {{ ref('int_report_links__found') }}
    where is_notice
    union all by name
    select
        undelivered_date as event_date,
        count(*) as undelivered_count
    from {{ ref('fct_non_deliveries') }}
    group by undelivered_date
    union all by name
    select
        event_date,
        1 as suppressed_send_count
    from {{ ref('fct_suppressed_sends') }}
    union all by name
    select
        event_date,
        bounce_count
    from {{ source('landing', 'retained_bounce_counts') }}
    union all by name
    select
        event_date,
        attempt_count,
        suppressed_send_count
    from {{ source('landing', 'retained_delivery_counts') }}
    union all by name
    select
        undelivered_date as event_date,
        undelivery_count as undelivered_count
    from {{ source('landing', 'retained_undelivery_counts') }}
),

kept_days as (
    select
        event_date,
        coalesce(sum(event_count), 0) as event_count,
        coalesce(sum(attempt_count), 0) as attempt_count,
        coalesce(sum(bounce_count), 0) as bounce_count,
        coalesce(sum(undelivered_count), 0) as undelivered_count,
        coalesce(sum(suppressed_send_count), 0) as suppressed_send_count
    from kept
    group by event_date
),

told_days as (
    select
        event_date,
        coalesce(sum(event_count), 0) as event_count,
        coalesce(sum(attempt_count), 0) as attempt_count,
        coalesce(sum(bounce_count), 0) as bounce_count,
        coalesce(sum(undelivered_count), 0) as undelivered_count,
        coalesce(sum(suppressed_send_count), 0) as suppressed_send_count
    from told
    group by event_date
)

select
    coalesce(kept_days.event_date, told_days.event_date) as event_date,
    kept_days.event_count as kept_event_count,
    told_days.event_count as told_event_count,
    kept_days.attempt_count as kept_attempt_count,
    told_days.attempt_count as told_attempt_count,
    kept_days.bounce_count as kept_bounce_count,
    told_days.bounce_count as told_bounce_count,
    kept_days.undelivered_count as kept_undelivered_count,
    told_days.undelivered_count as told_undelivered_count,
    kept_days.suppressed_send_count as kept_suppressed_send_count,
    told_days.suppressed_send_count as told_suppressed_send_count
from kept_days
full join told_days on kept_days.event_date = told_days.event_date
where
    kept_days.event_count is distinct from told_days.event_count
    or kept_days.attempt_count is distinct from told_days.attempt_count
    or kept_days.bounce_count is distinct from told_days.bounce_count
    or kept_days.undelivered_count is distinct from told_days.undelivered_count
    or kept_days.suppressed_send_count is distinct from told_days.suppressed_send_count
