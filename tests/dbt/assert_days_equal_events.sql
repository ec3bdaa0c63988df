-- Guards: a day that a build should have replaced, or counted again, and did not. Day by day, over all days, the daily marts and
-- what is kept by file add up to the events themselves, to what ended undelivered or was sent in vain, and to what is retained
-- of those that have gone. Where the build tests everything, all events are read once for it, in few columns. Otherwise those
-- of the days that it counted anew; of all other days what is kept by file stands for them: a build deletes events of these days
-- only, so that how many events there are tells of any that it left on another day, or put there.

{%- set dates = ref('int_conclusion_dates__touched') %}
{%- set is_whole = is_tested_whole() or not is_list_continued() %}

with kept as (
    select
        event_date,
        event_count
    from {{ ref('int_file_events__counted') }}
    where event_count is not null
    {%- if not is_whole %}
    union all by name
    select
        cast(null as date) as event_date,
        sum(event_count) as event_count
    from {{ ref('int_file_events__counted') }}
    {%- endif %}
    union all by name
    select
        event_date,
        attempt_count,
        undelivered_count,
        suppressed_send_count
    from {{ ref('rpt_delivery_daily') }}
    union all by name
    select
        event_date,
        bounce_count
    from {{ ref('rpt_bounces_daily') }}
),

-- to tell kinds apart once for each group takes the engine half as long as once for each event
kinds as (
    select
        event_date,
        event_type,
        is_attempt,
        count(*) as event_count
    from {{ ref('fct_delivery_events') }}
    {%- if not is_whole %}
    where event_date in (select event_date from {{ dates }})
    {%- endif %}
    group by event_date, event_type, is_attempt
),

told as (
    select
        event_date,
        event_count,
        case when is_attempt then event_count end as attempt_count,
        -- not from fct_bounces, which is made as the report is
        case
            when event_type = 'out_of_band_bounce' or (event_type in ('deferred', 'bounced') and is_attempt)
                then event_count
        end as bounce_count
    from kinds
    {%- if not is_whole %}
    union all by name
    select
        event_date,
        event_count,
        attempt_count,
        refusal_count as bounce_count
    from {{ ref('int_file_events__counted') }}
    where event_count is not null and event_date not in (select event_date from {{ dates }})
    union all by name
    select
        cast(null as date) as event_date,
        count(*) as event_count
    from {{ ref('fct_delivery_events') }}
    {%- endif %}
    union all by name
    select
        report_date as event_date,
        -1 as bounce_count
    from {{ ref('int_report_links__found') }}
    where is_notice
    union all by name
    -- by the one column that is null of all other messages
    select
        undelivered_date as event_date,
        count(*) as undelivered_count
    from {{ ref('fct_messages') }}
    where undelivered_date is not null
    group by undelivered_date
    union all by name
    select
        event_date,
        1 as suppressed_send_count
    from {{ ref('fct_suppressed_sends') }}
    union all by name
    select
        event_date,
        bounce_count
    from {{ source('landing', 'retained_bounce_counts') }}
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

counted as (
    select
        *,
        true as is_kept
    from kept
    union all by name
    select
        *,
        false as is_kept
    from told
),

days as (
    select
        event_date,
        is_kept,
        coalesce(sum(event_count), 0) as event_count,
        coalesce(sum(attempt_count), 0) as attempt_count,
        coalesce(sum(bounce_count), 0) as bounce_count,
        coalesce(sum(undelivered_count), 0) as undelivered_count,
        coalesce(sum(suppressed_send_count), 0) as suppressed_send_count
    from counted
    group by event_date, is_kept
)

-- what is equal on both sides is there twice
select
    event_date,
    event_count,
    attempt_count,
    bounce_count,
    undelivered_count,
    suppressed_send_count,
    bool_and(is_kept) as is_kept
from days
group by
    event_date,
    event_count,
    attempt_count,
    bounce_count,
    undelivered_count,
    suppressed_send_count
having count(*) = 1
order by event_date
