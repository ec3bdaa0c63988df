-- Guards: the undeliveries report is exact, as its sibling: by cause on the days that it has anew, and on all where the build
-- tests everything; day by day over all days, in assert_days_equal_events.

{%- set dates = ref('int_undelivery_dates__touched') %}
{%- set are_of_days = 'undelivered_date in (select undelivered_date from ' ~ dates ~ ')' %}
{%- set are_looked_at = 'true' if is_tested_whole() else are_of_days %}

with report as (
    select
        undelivered_date,
        cause,
        cast(sum(undelivery_count) as bigint) as report_count
    from {{ ref('rpt_undeliveries_daily') }}
    where {{ are_looked_at }}
    group by undelivered_date, cause
),

non_deliveries as (
    select
        undelivered_date,
        cause,
        1 as undelivery_count
    from {{ ref('fct_non_deliveries') }}
    where {{ are_looked_at }}
    union all
    select
        undelivered_date,
        cause,
        undelivery_count
    from {{ source('landing', 'retained_undelivery_counts') }}
    where {{ are_looked_at }}
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
