-- Final refusals of class hard: what may put an address on the suppression list, whatever the policy. A report that is only
-- a notice of a refusal in the log is none of its own; which reports are, each build finds anew.

{{ config(
    materialized='incremental',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__judged'},
) }}

with retained as (
    select
        *,
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id
    from {{ source('landing', 'retained_evidence') }}
    where cause = 'hard_bounce'
),

judgements as (
    select * from {{ ref('int_bounce_texts__judged') }}
)

select
    event_id,
    message_group_id,
    source_name,
    event_at,
    event_type,
    recipient as address,
    recipient_domain,
    mx_host,
    provider_of(mx_host, recipient_domain) as provider,
    campaign_id,
    text_id,
    reason,
    rule_id,
    response_text
from {{ ref('fct_delivery_events') }}
where
    event_type in ('bounced', 'out_of_band_bounce')
    and bounce_class = 'hard'
    and event_date in (select event_date from {{ ref('int_judged_days__touched') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
    and event_id not in (
        select event_id from {{ ref('int_report_links__found') }}
        where is_notice
    )
    and event_id not in (select event_id from retained)
{% if not is_carried_on() %}
union all
select
    retained.event_id,
    -- no group that events are collected of can replace it
    retained.event_id as message_group_id,
    retained.source_name,
    retained.event_at,
    retained.event_type,
    retained.address,
    retained.recipient_domain,
    retained.mx_host,
    provider_of(retained.mx_host, retained.recipient_domain) as provider,
    retained.campaign_id,
    judgements.text_id,
    judgements.reason,
    judgements.rule_id,
    retained.response_text
from retained
left join judgements on retained.judgement_id = judgements.judgement_id
{% endif %}
