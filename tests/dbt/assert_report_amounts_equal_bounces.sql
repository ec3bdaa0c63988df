-- Guards: the report is exact. Day by day the daily mart adds up to the bounces themselves.

with report as (
    select
        event_date,
        bounce_class,
        cast(sum(bounce_count) as bigint) as report_count
    from {{ ref('rpt_bounces_daily') }}
    group by event_date, bounce_class
),

facts as (
    select
        event_date,
        bounce_class,
        count(*) as fact_count
    from {{ ref('fct_bounces') }}
    group by event_date, bounce_class
)

select
    coalesce(report.event_date, facts.event_date) as event_date,
    coalesce(report.bounce_class, facts.bounce_class) as bounce_class,
    report.report_count,
    facts.fact_count
from report
full join facts on report.event_date = facts.event_date and report.bounce_class = facts.bounce_class
where report.report_count is distinct from facts.fact_count
