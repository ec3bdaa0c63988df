with addresses as (
    select * from {{ ref('ops_suppression_policy_addresses') }}
)

select
    smtp_5xx_verdict,
    recipient_verdict,
    reason,
    rule_id,
    count(*) as address_count,
    cast(sum(hard_bounce_count) as bigint) as hard_bounce_count,
    count(*) filter (delivered_after_count > 0) as delivered_after_address_count,
    cast(sum(delivered_after_count) as bigint) as delivered_after_count,
    min(hard_bounced_at) as first_hard_bounced_at,
    max(last_hard_bounce_at) as last_hard_bounce_at,
    min_by(response_text, (hard_bounced_at, event_id)) as sample_text
from addresses
group by smtp_5xx_verdict, recipient_verdict, reason, rule_id
