-- depends_on: {{ ref('int_conclusion_dates__touched') }}
{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_conclusion_dates__touched'},
    anew_unless_continued=true,
) }}

with events as (
    select * from {{ ref('int_delivery_events__counted') }}
    {% if is_carried_on() %}
    where event_date in (select event_date from {{ ref('int_conclusion_dates__touched') }})
    {% endif %}
),

bounces as (
    select
        event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
        sum(bounce_count) filter (bounce_class = 'soft') as soft_bounce_count,
        sum(bounce_count) filter (bounce_class = 'hard') as hard_bounce_count
    from {{ ref('rpt_bounces_daily') }}
    {% if is_carried_on() %}
    where event_date in (select event_date from {{ ref('int_conclusion_dates__touched') }})
    {% endif %}
    group by all
),

conclusions as (
    select * from {{ ref('int_delivery_conclusions__counted') }}
    {% if is_carried_on() %}
    where event_date in (select event_date from {{ ref('int_conclusion_dates__touched') }})
    {% endif %}
),

counted as (
    select * from events
    union all by name
    select * from bounces
    union all by name
    select * from conclusions
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    provider,
    cast(coalesce(sum(injected_count), 0) as bigint) as injected_count,
    cast(coalesce(sum(attempt_count), 0) as bigint) as attempt_count,
    cast(coalesce(sum(delivered_count), 0) as bigint) as delivered_count,
    cast(coalesce(sum(delivered_first_attempt_count), 0) as bigint) as delivered_first_attempt_count,
    cast(coalesce(sum(deferred_count), 0) as bigint) as deferred_count,
    cast(coalesce(sum(deferred_first_attempt_count), 0) as bigint) as deferred_first_attempt_count,
    cast(coalesce(sum(bounced_count), 0) as bigint) as bounced_count,
    cast(coalesce(sum(bounced_first_attempt_count), 0) as bigint) as bounced_first_attempt_count,
    cast(coalesce(sum(expired_count), 0) as bigint) as expired_count,
    cast(coalesce(sum(dropped_count), 0) as bigint) as dropped_count,
    cast(coalesce(sum(out_of_band_bounce_count), 0) as bigint) as out_of_band_bounce_count,
    cast(coalesce(sum(complaint_count), 0) as bigint) as complaint_count,
    cast(coalesce(sum(soft_bounce_count), 0) as bigint) as soft_bounce_count,
    cast(coalesce(sum(hard_bounce_count), 0) as bigint) as hard_bounce_count,
    cast(coalesce(sum(undelivered_count), 0) as bigint) as undelivered_count,
    cast(coalesce(sum(suppressed_send_count), 0) as bigint) as suppressed_send_count
from counted
group by all
