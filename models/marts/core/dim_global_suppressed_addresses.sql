with last_changes as (
    select * from {{ ref('fct_global_suppression_events') }}
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
