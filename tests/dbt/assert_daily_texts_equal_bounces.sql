-- Guards: what is kept by day of texts and of unclassified bounces is, day by day, what the bounces say: on the days that the
-- build replaced, and on all where it tests everything. That all days of the report are right is a test of its own.

{%- set touched = ref('int_event_dates__touched') %}
{%- set are_looked_at = 'true' if is_tested_whole() else 'event_date in (select event_date from ' ~ touched ~ ')' %}

with kept as (
    select
        event_date,
        1 as bounce_count,
        case when reason = 'undetermined' then 1 else 0 end as undetermined_count
    from {{ ref('fct_bounces') }}
    where {{ are_looked_at }}
    union all
    select
        event_date,
        bounce_count,
        0 as undetermined_count
    from {{ source('landing', 'retained_bounce_counts') }}
    where {{ are_looked_at }}
),

bounces as (
    select
        event_date,
        sum(bounce_count) as bounce_count,
        sum(undetermined_count) as undetermined_count
    from kept
    group by event_date
),

daily as (
    select
        event_date,
        sum(bounce_count) as bounce_count
    from {{ ref('int_bounce_texts__daily') }}
    where {{ are_looked_at }}
    group by event_date
),

unclassified as (
    select
        event_date,
        count(*) filter (reason = 'undetermined') as undetermined_count
    from {{ ref('int_unclassified_bounces__collected') }}
    where {{ are_looked_at }}
    group by event_date
)

select
    coalesce(bounces.event_date, daily.event_date, unclassified.event_date) as event_date,
    bounces.bounce_count,
    daily.bounce_count as kept_count,
    bounces.undetermined_count,
    unclassified.undetermined_count as kept_undetermined_count
from bounces
full join daily on bounces.event_date = daily.event_date
full join unclassified on bounces.event_date = unclassified.event_date
where
    bounces.bounce_count is distinct from daily.bounce_count
    or coalesce(bounces.undetermined_count, 0) <> coalesce(unclassified.undetermined_count, 0)
