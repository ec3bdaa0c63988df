select
    action_id,
    action,
    list_name,
    acted_at,
    address,
    acted_by,
    why,
    listed_at,
    origin,
    from_at,
    until_at,
    margin_hours,
    recipient_domain,
    provider,
    pattern,
    bounce_reason
from {{ ref('int_actions__collected') }}
