-- Guards: a day that the batch touched was replaced whole in rpt_delivery_daily, and so was one of which time or the list changed
-- what ended undelivered or was sent in vain.

with report as (
    select
        event_date,
        cast(sum(attempt_count) as bigint) as attempt_count,
        cast(sum(undelivered_count) as bigint) as undelivered_count,
        cast(sum(suppressed_send_count) as bigint) as suppressed_send_count
    from {{ ref('rpt_delivery_daily') }}
    group by event_date
),

counted as (
    select
        event_date,
        count(*) filter (is_attempt) as attempt_count
    from {{ ref('fct_delivery_events') }}
    group by event_date
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
        attempt_count,
        suppressed_send_count
    from {{ source('landing', 'retained_delivery_counts') }}
    union all by name
    select
        undelivered_date as event_date,
        undelivery_count as undelivered_count
    from {{ source('landing', 'retained_undelivery_counts') }}
),

facts as (
    select
        event_date,
        coalesce(sum(attempt_count), 0) as attempt_count,
        coalesce(sum(undelivered_count), 0) as undelivered_count,
        coalesce(sum(suppressed_send_count), 0) as suppressed_send_count
    from counted
    group by event_date
)

select
    coalesce(report.event_date, facts.event_date) as event_date,
    report.attempt_count as report_attempt_count,
    facts.attempt_count as fact_attempt_count,
    report.undelivered_count as report_undelivered_count,
    facts.undelivered_count as fact_undelivered_count,
    report.suppressed_send_count as report_suppressed_send_count,
    facts.suppressed_send_count as fact_suppressed_send_count
from report
full join facts on report.event_date = facts.event_date
where
    report.attempt_count is distinct from facts.attempt_count
    or report.undelivered_count is distinct from facts.undelivered_count
    or report.suppressed_send_count is distinct from facts.suppressed_send_count
