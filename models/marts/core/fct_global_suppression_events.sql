{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

{%- set changed = ref('int_suppression_addresses__changed') %}
{%- set is_concerned = 'address in (select address from ' ~ changed ~ ')' if is_carried_on() else 'true' %}

with causes as (
    select * from {{ ref('fct_suppression_causes') }}
    where list_name = 'global' and {{ is_concerned }}
),

changes as (
    {{ replayed_ledger('causes') }}
)

select
    suppression_event_id,
    address,
    recipient_domain,
    occurred_at,
    action,
    acted_by,
    why,
    cause,
    event_id,
    source_name,
    campaign_id
from changes
