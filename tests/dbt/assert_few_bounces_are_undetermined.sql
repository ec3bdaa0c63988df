-- Warns, and stops nothing: rules that know less and less of what is answered. The days are the last ones with data,
-- so that the answer depends on no clock.

{{ config(severity='warn') }}

with daily as (
    select * from {{ ref('int_bounce_texts__daily') }}
),

last_dates as (
    select max(event_date) as last_date from daily
),

recent as (
    select
        sum(daily.bounce_count) as bounce_count,
        coalesce(sum(daily.bounce_count) filter (daily.reason = 'undetermined'), 0) as undetermined_count
    from daily
    inner join last_dates on daily.event_date > last_dates.last_date - {{ var('recent_days') }}
)

select
    undetermined_count || ' of ' || bounce_count || ' bounces of the last {{ var("recent_days") }} days ('
    || round(100.0 * undetermined_count / bounce_count, 1) || '%) are undetermined, more than '
    || round(100.0 * {{ var('undetermined_share_limit') }}, 1)
    || '%: marts.ops_unclassified_texts has the texts that want a rule' as warning
from recent
where undetermined_count > {{ var('undetermined_share_limit') }} * bounce_count
