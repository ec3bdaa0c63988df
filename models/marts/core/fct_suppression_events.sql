{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

{%- set changed = ref('int_suppression_addresses__changed') %}
{%- set is_concerned = 'address in (select address from ' ~ changed ~ ')' if is_carried_on() else 'true' %}

with causes as (
    select * from {{ ref('fct_suppression_causes') }}
    where list_name = 'suppression' and {{ is_concerned }}
),

changes as (
    {{ replayed_ledger('causes') }}
),

evidence as (
    select
        cause_id,
        response_text
    from causes
)

select
    changes.suppression_event_id,
    changes.address,
    changes.recipient_domain,
    changes.occurred_at,
    changes.action,
    changes.acted_by,
    changes.why,
    changes.cause,
    changes.event_id,
    changes.source_name,
    changes.campaign_id,
    changes.text_id,
    changes.reason,
    changes.rule_id,
    evidence.response_text,
    case when changes.event_id is not null then '{{ var("rule_set_version") }}' end as rule_set_version,
    case when changes.event_id is not null then '{{ var("suppression_policy") }}' end as suppression_policy
from changes
left join evidence on changes.suppression_event_id = evidence.cause_id
