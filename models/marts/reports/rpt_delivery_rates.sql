{{ config(materialized='view') }}

with daily as (
    select
        event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        provider,
        sum(delivered_first_attempt_count + deferred_first_attempt_count + bounced_first_attempt_count) as first_attempt_count,
        sum(deferred_first_attempt_count) as deferred_first_attempt_count,
        sum(delivered_count) as delivered_count,
        sum(bounced_count) as bounced_count,
        sum(hard_bounce_count) as hard_bounce_count,
        sum(complaint_count) as complaint_count,
        sum(undelivered_count) as undelivered_count
    from {{ ref('rpt_delivery_daily') }}
    group by all
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    provider,
    cast(first_attempt_count as bigint) as first_attempt_count,
    cast(delivered_count as bigint) as delivered_count,
    deferred_first_attempt_count / nullif(first_attempt_count, 0) as deferral_rate,
    hard_bounce_count / nullif(delivered_count + bounced_count, 0) as hard_bounce_rate,
    complaint_count / nullif(delivered_count, 0) as complaint_rate,
    undelivered_count / nullif(delivered_count + undelivered_count, 0) as undelivered_rate
from daily
