{%- set days_before %}
order by event_date
range between interval {{ var('recent_days') }} day preceding and interval 1 day preceding
{%- endset %}

with thresholds as (
    select * from {{ ref('alert_thresholds') }}
),

daily as (
    select * from {{ ref('rpt_delivery_daily') }}
),

texts_daily as (
    select * from {{ ref('int_bounce_texts__daily') }}
),

texts as (
    select * from {{ ref('dim_bounce_texts') }}
),

groups_daily as (
    select
        event_date,
        unnest([
            { 'dimension': 'from_domain', 'dimension_value': from_domain },
            { 'dimension': 'sending_ip', 'dimension_value': sending_ip },
            { 'dimension': 'provider', 'dimension_value': provider }
        ]) as grouped_by,
        delivered_first_attempt_count + deferred_first_attempt_count + bounced_first_attempt_count as first_attempt_count,
        deferred_first_attempt_count,
        delivered_count,
        bounced_count,
        hard_bounce_count,
        complaint_count
    from daily
),

-- for each metric what is counted, and of what that is a share
measured as (
    select
        event_date,
        grouped_by,
        unnest([
            {
                'metric': 'hard_bounce_rate',
                'event_count': sum(hard_bounce_count),
                'volume_count': sum(delivered_count + bounced_count)
            },
            { 'metric': 'complaint_rate', 'event_count': sum(complaint_count), 'volume_count': sum(delivered_count) },
            {
                'metric': 'deferral_growth',
                'event_count': sum(deferred_first_attempt_count),
                'volume_count': sum(first_attempt_count)
            }
        ]) as measure
    from groups_daily
    group by event_date, grouped_by
),

groups_with_past as (
    select
        event_date,
        grouped_by,
        null as text_id,
        measure.metric,
        measure.event_count,
        measure.volume_count,
        coalesce(
            sum(measure.event_count) over (partition by grouped_by, measure.metric {{ days_before }}), 0
        ) as past_event_count,
        coalesce(
            sum(measure.volume_count) over (partition by grouped_by, measure.metric {{ days_before }}), 0
        ) as past_volume_count
    from measured
),

attempts_daily as (
    select
        event_date,
        sum(attempt_count) as volume_count
    from daily
    group by event_date
),

attempts_with_past as (
    select
        event_date,
        volume_count,
        coalesce(sum(volume_count) over ({{ days_before }}), 0) as past_volume_count
    from attempts_daily
),

texts_with_past as (
    select
        event_date,
        text_id,
        bounce_count as event_count,
        coalesce(sum(bounce_count) over (partition by text_id {{ days_before }}), 0) as past_event_count
    from texts_daily
),

with_past as (
    select * from groups_with_past
    union all by name
    -- of a reply the share of all attempts: on a day of much mail every reply is frequent
    select
        texts_with_past.event_date,
        { 'dimension': 'bounce_text', 'dimension_value': texts.bounce_text } as grouped_by,
        texts_with_past.text_id,
        'reply_growth' as metric,
        texts_with_past.event_count,
        attempts_with_past.volume_count,
        texts_with_past.past_event_count,
        attempts_with_past.past_volume_count
    from texts_with_past
    inner join attempts_with_past on texts_with_past.event_date = attempts_with_past.event_date
    inner join texts on texts_with_past.text_id = texts.text_id
)

select
    with_past.event_date,
    with_past.metric,
    thresholds.level,
    with_past.grouped_by.dimension,
    with_past.grouped_by.dimension_value,
    with_past.text_id,
    cast(with_past.event_count as bigint) as event_count,
    cast(with_past.volume_count as bigint) as volume_count,
    with_past.event_count / with_past.volume_count as rate,
    with_past.past_event_count / nullif(with_past.past_volume_count, 0) as usual_rate,
    thresholds.threshold
from with_past
inner join thresholds
    on
        with_past.metric = thresholds.metric
        and with_past.volume_count >= greatest(thresholds.minimum_volume, 1)
        and with_past.event_count >= thresholds.minimum_count
        and case
            when with_past.metric in ('hard_bounce_rate', 'complaint_rate')
                then with_past.event_count >= thresholds.threshold * with_past.volume_count
            else
                with_past.past_volume_count >= thresholds.minimum_volume
                and with_past.event_count * with_past.past_volume_count
                >= thresholds.threshold * with_past.past_event_count * with_past.volume_count
        end
qualify row_number() over (
    partition by with_past.event_date, with_past.metric, with_past.grouped_by, with_past.text_id
    order by thresholds.threshold desc
) = 1
