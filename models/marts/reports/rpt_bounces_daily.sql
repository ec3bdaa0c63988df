{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

select
    event_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    bounce_class,
    text_id,
    reason,
    count(*) as bounce_count
from {{ ref('fct_bounces') }}
where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
group by all
