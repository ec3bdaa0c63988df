{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with bounces as (
    select
        *,
        1 as bounce_count
    from {{ ref('fct_bounces') }}
    where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
),

-- what is retained of bounces that have gone
retained as (
    select
        *,
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id
    from {{ source('landing', 'retained_bounce_counts') }}
    where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
),

judgements as (
    select * from {{ ref('int_bounce_texts__judged') }}
),

counted as (
    select
        event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
        bounce_class,
        text_id,
        reason,
        bounce_count
    from bounces
    union all
    select
        retained.event_date,
        retained.source_name,
        retained.campaign_id,
        retained.from_domain,
        retained.sending_ip,
        retained.recipient_domain,
        {{ retained_provider('retained') }} as provider,
        retained.bounce_class,
        judgements.text_id,
        judgements.reason,
        retained.bounce_count
    from retained
    left join judgements on retained.judgement_id = judgements.judgement_id
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    provider,
    bounce_class,
    text_id,
    reason,
    cast(sum(bounce_count) as bigint) as bounce_count
from counted
group by all
