-- Guards: a day that the batch touched was replaced whole in rpt_delivery_daily.

with report as (
    select
        event_date,
        cast(sum(attempt_count) as bigint) as report_count
    from {{ ref('rpt_delivery_daily') }}
    group by event_date
),

events as (
    select
        event_date,
        case when is_attempt then 1 else 0 end as attempt_count
    from {{ ref('fct_delivery_events') }}
    union all
    select
        event_date,
        attempt_count
    from {{ source('landing', 'retained_delivery_counts') }}
),

facts as (
    select
        event_date,
        sum(attempt_count) as fact_count
    from events
    group by event_date
)

select
    coalesce(report.event_date, facts.event_date) as event_date,
    report.report_count,
    facts.fact_count
from report
full join facts on report.event_date = facts.event_date
-- a day may have no event: on which time alone ended messages
where coalesce(report.report_count, 0) <> coalesce(facts.fact_count, 0)
