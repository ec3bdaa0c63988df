with evidence as (
    select * from {{ ref('int_suppression_evidence__collected') }}
),

reasons as (
    select * from {{ ref('bounce_reasons') }}
),

actions as (
    select * from {{ ref('int_actions__collected') }}
),

-- everything that would put an address on the list or take it off
causes as (
    select
        evidence.event_id as cause_id,
        evidence.address,
        evidence.recipient_domain,
        evidence.event_at as occurred_at,
        'added' as action,
        'bouncehouse' as acted_by,
        'hard bounce' as why,
        evidence.event_id,
        evidence.source_name,
        evidence.campaign_id,
        evidence.text_id,
        evidence.reason,
        evidence.rule_id,
        evidence.response_text
    from evidence
    inner join reasons on evidence.reason = reasons.reason
    where
        '{{ var("suppression_policy") }}' = 'smtp_5xx'
        -- policy `recipient`: a blocklisting answered with 5xx says nothing about the address
        or reasons.is_about_recipient
    union all
    select
        {{ digest(["'action'", 'action_id']) }} as cause_id,
        address,
        {{ address_domain('address') }} as recipient_domain,
        acted_at as occurred_at,
        case action when 'add' then 'added' else 'removed' end as action,
        acted_by,
        why,
        null as event_id,
        null as source_name,
        null as campaign_id,
        null as text_id,
        null as reason,
        null as rule_id,
        null as response_text
    from actions
),

with_state as (
    select
        *,
        lag(action, 1, 'removed') over (
            partition by address
            -- at the same instant the administrator has the last word
            order by occurred_at, acted_by <> 'bouncehouse', cause_id
        ) as state_before
    from causes
)

select
    cause_id as suppression_event_id,
    address,
    recipient_domain,
    occurred_at,
    action,
    acted_by,
    why,
    event_id,
    source_name,
    campaign_id,
    text_id,
    reason,
    rule_id,
    response_text,
    case when event_id is not null then '{{ var("rule_set_version") }}' end as rule_set_version,
    case when event_id is not null then '{{ var("suppression_policy") }}' end as suppression_policy
from with_state
-- a bounce of an address that is on the list already, or a removal of one that is not, changes nothing
where action <> state_before
