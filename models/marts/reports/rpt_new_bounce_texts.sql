{%- set days_before %}
order by event_date
range between interval {{ var('recent_days') }} day preceding and interval 1 day preceding
{%- endset %}

with daily as (
    select * from {{ ref('int_bounce_texts__daily') }}
),

texts as (
    select * from {{ ref('dim_bounce_texts') }}
),

dates as (
    select distinct event_date from daily
),

-- how many of the days before have data at all: a day without is no evidence that a text was quiet
known_dates as (
    select
        event_date,
        count(*) over ({{ days_before }}) as history_day_count
    from dates
),

with_past as (
    select
        *,
        coalesce(sum(bounce_count) over (partition by text_id {{ days_before }}), 0) as past_bounce_count,
        lag(event_date) over (partition by text_id order by event_date) as previous_date
    from daily
),

compared as (
    select
        with_past.event_date,
        with_past.text_id,
        with_past.bounce_count,
        with_past.previous_date,
        known_dates.history_day_count,
        cast(with_past.past_bounce_count as double) / known_dates.history_day_count as usual_count,
        case
            when with_past.past_bounce_count = 0 then 'new'
            when
                with_past.bounce_count >= {{ var('grown_text_minimum') }}
                and with_past.bounce_count * known_dates.history_day_count
                >= {{ var('grown_text_factor') }} * with_past.past_bounce_count
                then 'grown'
        end as change
    from with_past
    inner join known_dates on with_past.event_date = known_dates.event_date
    -- on the first day of all data everything would be new
    where known_dates.history_day_count > 0
)

select
    compared.event_date,
    compared.text_id,
    compared.change,
    texts.bounce_text,
    texts.reason,
    compared.bounce_count,
    compared.usual_count,
    cast(compared.history_day_count as integer) as history_day_count,
    compared.previous_date,
    texts.sample_text
from compared
inner join texts on compared.text_id = texts.text_id
where compared.change is not null
