with last_changes as (
    select * from {{ ref('fct_suppression_events') }}
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
