-- Final refusals of class hard: what may put an address on the suppression list, whatever the policy.

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
    event_type,
    recipient as address,
    recipient_domain,
    mx_host,
    campaign_id,
    text_id,
    reason,
    rule_id,
    smtp_code,
    response_text
from {{ ref('fct_delivery_events') }}
where
    event_type in ('bounced', 'out_of_band_bounce')
    and bounce_class = 'hard'
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
