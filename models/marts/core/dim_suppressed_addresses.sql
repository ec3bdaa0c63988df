-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

with last_changes as (
    select * from {{ ref('fct_suppression_events') }}
    {% if is_carried_on() %}
    where address in (select address from {{ ref('int_suppression_addresses__changed') }})
    {% endif %}
    qualify {{ is_last_change() }}
)

select
    address,
    recipient_domain,
    occurred_at as suppressed_at,
    acted_by,
    why,
    cause,
    event_id,
    source_name,
    campaign_id,
    text_id,
    reason,
    rule_id,
    response_text,
    rule_set_version,
    suppression_policy
from last_changes
where action in ('added', 'imported')
