-- Guards: the report is exact. By class, campaign, From domain and sending IP the daily mart adds up to the bounces themselves,
-- and to what is retained of those that have gone, on the days that the build replaced, and on all where it tests everything;
-- day by day it does so over all days, in assert_days_equal_events.

{%- set touched = ref('int_event_dates__touched') %}
{%- set are_looked_at = 'true' if is_tested_whole() else 'event_date in (select event_date from ' ~ touched ~ ')' %}

with report as (
    select
        event_date,
        bounce_class,
        campaign_id,
        from_domain,
        sending_ip,
        cast(sum(bounce_count) as bigint) as report_count
    from {{ ref('rpt_bounces_daily') }}
    where {{ are_looked_at }}
    group by all
),

links as (
    select * from {{ ref('int_report_links__found') }}
),

-- not from fct_bounces, which is made as the report is
counted as (
    select
        events.event_date,
        events.bounce_class,
        coalesce(links.campaign_id, events.campaign_id) as campaign_id,
        coalesce(links.from_domain, events.from_domain) as from_domain,
        coalesce(links.sending_ip, events.sending_ip) as sending_ip,
        1 as bounce_count
    from {{ ref('fct_delivery_events') }} as events
    left join links on events.event_id = links.event_id
    where
        {{ are_looked_at }}
        and (
            (events.event_type in ('deferred', 'bounced') and events.is_attempt)
            or (events.event_type = 'out_of_band_bounce' and not coalesce(links.is_notice, false))
        )
    union all by name
    select
        event_date,
        bounce_class,
        campaign_id,
        from_domain,
        sending_ip,
        bounce_count
    from {{ source('landing', 'retained_bounce_counts') }}
    where {{ are_looked_at }}
),

facts as (
    select
        event_date,
        bounce_class,
        campaign_id,
        from_domain,
        sending_ip,
        sum(bounce_count) as fact_count
    from counted
    group by all
)

select
    coalesce(report.event_date, facts.event_date) as event_date,
    coalesce(report.bounce_class, facts.bounce_class) as bounce_class,
    coalesce(report.campaign_id, facts.campaign_id) as campaign_id,
    coalesce(report.from_domain, facts.from_domain) as from_domain,
    coalesce(report.sending_ip, facts.sending_ip) as sending_ip,
    report.report_count,
    facts.fact_count
from report
full join facts
    on
        report.event_date = facts.event_date
        and report.bounce_class is not distinct from facts.bounce_class
        and report.campaign_id is not distinct from facts.campaign_id
        and report.from_domain is not distinct from facts.from_domain
        and report.sending_ip is not distinct from facts.sending_ip
where coalesce(report.report_count, 0) <> coalesce(facts.fact_count, 0)
