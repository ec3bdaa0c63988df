with ledger as (
    select * from {{ ref('fct_suppression_events') }}
),

last_events as (
    select * from ledger
    qualify row_number() over (
        partition by address
        order by occurred_at desc, acted_by = 'bouncehouse', suppression_event_id desc
    ) = 1
)

select
    address,
    recipient_domain,
    occurred_at as suppressed_at,
    acted_by,
    why,
    event_id,
    source_name,
    campaign_id,
    text_id,
    reason,
    rule_id,
    response_text,
    rule_set_version,
    suppression_policy
from last_events
where action = 'added'
