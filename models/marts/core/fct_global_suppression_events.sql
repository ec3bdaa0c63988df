with changes as (
    {{ replayed_ledger("(select * from " ~ ref('fct_suppression_causes') ~ " where list_name = 'global')") }}
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
