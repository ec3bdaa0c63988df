with changes as (
    {{ replayed_ledger("(select * from " ~ ref('fct_suppression_causes') ~ " where list_name = 'suppression')") }}
),

evidence as (
    select
        cause_id,
        response_text
    from {{ ref('fct_suppression_causes') }}
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
