-- What time alone or the list can change of a day long past, whatever the batch touched: messages that ended undelivered, and
-- sends to listed addresses.

{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_conclusion_dates__touched'},
    anew_unless_continued=true,
) }}

{%- set touched = ref('int_conclusion_dates__touched') %}
{%- set is_concerned = 'event_date in (select event_date from ' ~ touched ~ ')' if is_carried_on() else 'true' %}

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
    {% if is_carried_on() %}
    where undelivered_date in (select event_date from {{ ref('int_conclusion_dates__touched') }})
    {% endif %}
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
    where {{ is_concerned }}
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
    where retained.suppressed_send_count > 0 and {{ is_concerned }}
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
