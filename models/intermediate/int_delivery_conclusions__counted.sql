-- What time alone or the list can change of a day long past, whatever the batch touched: messages that ended undelivered, and
-- sends to listed addresses.

with undeliveries as (
    select
        undelivered_date as event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
        sum(undelivery_count) as undelivered_count
    from {{ ref('rpt_undeliveries_daily') }}
    group by all
),

suppressed_sends as (
    select
        event_date,
        source_name,
        campaign_id,
        from_domain,
        sending_ip,
        recipient_domain,
        provider,
        count(*) as suppressed_send_count
    from {{ ref('fct_suppressed_sends') }}
    group by all
    union all
    select
        retained.event_date,
        retained.source_name,
        retained.campaign_id,
        retained.from_domain,
        retained.sending_ip,
        retained.recipient_domain,
        {{ retained_provider('retained') }} as provider,
        retained.suppressed_send_count
    from {{ source('landing', 'retained_delivery_counts') }} as retained
    where retained.suppressed_send_count > 0
),

counted as (
    select * from undeliveries
    union all by name
    select * from suppressed_sends
)

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    provider,
    coalesce(sum(undelivered_count), 0) as undelivered_count,
    coalesce(sum(suppressed_send_count), 0) as suppressed_send_count
from counted
group by all
