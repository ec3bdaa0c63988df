-- Guards: the undeliveries report is exact, as its sibling.

with report as (
    select
        undelivered_date,
        cause,
        cast(sum(undelivery_count) as bigint) as report_count
    from {{ ref('rpt_undeliveries_daily') }}
    group by undelivered_date, cause
),

facts as (
    select
        undelivered_date,
        cause,
        count(*) as fact_count
    from {{ ref('fct_non_deliveries') }}
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
