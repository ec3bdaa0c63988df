-- Final refusals of class hard: what may put an address on the suppression list, whatever the policy. A report that is only
-- a notice of a refusal in the log is none of its own; which reports are, each build finds anew.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__judged'},
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
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
    and event_id not in (
        select event_id from {{ ref('int_report_links__found') }}
        where is_notice
    )
