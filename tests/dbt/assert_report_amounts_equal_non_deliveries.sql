-- Guards: the undeliveries report is exact, as its sibling.

with report as (
    select
        undelivered_date,
        cause,
        cast(sum(undelivery_count) as bigint) as report_count
    from {{ ref('rpt_undeliveries_daily') }}
    group by undelivered_date, cause
),

non_deliveries as (
    select
        undelivered_date,
        cause,
        1 as undelivery_count
    from {{ ref('fct_non_deliveries') }}
    union all
    select
        undelivered_date,
        cause,
        undelivery_count
    from {{ source('landing', 'retained_undelivery_counts') }}
),

facts as (
    select
        undelivered_date,
        cause,
        sum(undelivery_count) as fact_count
    from non_deliveries
    group by undelivered_date, cause
)

select
    coalesce(report.undelivered_date, facts.undelivered_date) as undelivered_date,
    coalesce(report.cause, facts.cause) as cause,
    report.report_count,
    facts.fact_count
from report
full join facts on report.undelivered_date = facts.undelivered_date and report.cause = facts.cause
where report.report_count is distinct from facts.fact_count
