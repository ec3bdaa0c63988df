{{ config(
    materialized='incremental',
    touched={'column': 'undelivered_date', 'model': 'int_undelivery_dates__touched'},
    anew_unless_continued=true,
) }}

{%- set touched = ref('int_undelivery_dates__touched') %}

-- what is retained of messages that have gone
with retained as (
    select
        *,
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id
    from {{ source('landing', 'retained_undelivery_counts') }}
    where undelivered_date in (select undelivered_date from {{ touched }})
),

judgements as (
    select * from {{ ref('int_bounce_texts__judged') }}
),

counted as (
    select
        undelivered_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
        cause,
        bounce_class,
        text_id,
        reason,
        1 as undelivery_count
    from {{ ref('fct_messages') }}
    where
        outcome = 'undelivered'
        and undelivered_date in (select undelivered_date from {{ touched }})
    union all
    select
        retained.undelivered_date,
        retained.source_name,
        retained.campaign_id,
        retained.from_domain,
        retained.sending_ip,
        retained.recipient_domain,
        {{ retained_provider('retained') }} as provider,
        retained.cause,
        retained.bounce_class,
        judgements.text_id,
        coalesce(retained.other_reason, judgements.reason) as reason,
        retained.undelivery_count
    from retained
    left join judgements on retained.bounce_text is not null and retained.judgement_id = judgements.judgement_id
)

select
    undelivered_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    provider,
    cause,
    bounce_class,
    text_id,
    reason,
    cast(sum(undelivery_count) as bigint) as undelivery_count
from counted
group by all
