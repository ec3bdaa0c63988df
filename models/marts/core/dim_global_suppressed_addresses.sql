-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

with last_changes as (
    select * from {{ ref('fct_global_suppression_events') }}
    {% if is_carried_on() %}
    where address in (select address from {{ ref('int_suppression_addresses__changed') }})
    {% endif %}
    qualify {{ is_last_change() }}
)

select
    address,
    recipient_domain,
    occurred_at as suppressed_at,
    cause,
    acted_by,
    why,
    event_id,
    source_name,
    campaign_id
from last_changes
where action in ('added', 'imported')
