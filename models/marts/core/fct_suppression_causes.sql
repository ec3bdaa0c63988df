-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

with causes as (
    select * from {{ ref('int_suppression_causes__collected') }}
    {% if is_carried_on() %}
    where address in (select address from {{ ref('int_suppression_addresses__changed') }})
    {% endif %}
)

select
    list_name,
    cause_id,
    address,
    recipient_domain,
    occurred_at,
    cause,
    is_removal,
    acted_by,
    why,
    event_id,
    event_type,
    source_name,
    campaign_id,
    provider,
    text_id,
    reason,
    rule_id,
    response_text,
    ends_at,
    end_action,
    ended_by,
    end_why,
    end_id
from causes
where
    is_about_recipient is null
    -- policy `recipient`: a blocklisting answered with 5xx says nothing about the address
    or is_about_recipient
    or '{{ var("suppression_policy") }}' = 'smtp_5xx'
