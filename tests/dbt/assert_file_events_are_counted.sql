-- Guards: what is kept by file and day of events is, day by day, as many as there are; a day that a build should have counted
-- again and did not would show here. The figures themselves are counted again by a build that tests everything.

with kept as (
    select
        event_date,
        sum(event_count) as event_count
    from {{ ref('int_file_events__counted') }}
    where event_count is not null
    group by event_date
),

events as (
    select
        event_date,
        count(*) as event_count
    from {{ ref('fct_delivery_events') }}
    group by event_date
)

select
    coalesce(kept.event_date, events.event_date) as event_date,
    kept.event_count as kept_count,
    events.event_count
from kept
full join events on kept.event_date = events.event_date
where kept.event_count is distinct from events.event_count
