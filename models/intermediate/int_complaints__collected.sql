-- Complaints of recipients: no bounces, but requests not to be mailed.

{{ config(
    materialized='incremental',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__touched'},
) }}

with retained as (
    select * from {{ source('landing', 'retained_complaints') }}
)

select
    event_id,
    message_group_id,
    source_name,
    event_at,
    recipient as address,
    recipient_domain,
    campaign_id
from {{ ref('fct_delivery_events') }}
where
    event_type = 'complaint'
    and recipient is not null
    and event_date in (select event_date from {{ ref('int_logged_days__touched') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
    and event_id not in (select event_id from retained)
{% if not is_carried_on() %}
union all
select
    event_id,
    -- no group that events are collected of can replace it
    event_id as message_group_id,
    source_name,
    event_at,
    address,
    recipient_domain,
    campaign_id
from retained
{% endif %}
