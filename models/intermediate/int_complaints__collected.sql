-- Complaints of recipients: no bounces, but requests not to be mailed.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__touched'},
) }}

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
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
