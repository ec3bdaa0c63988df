-- depends_on: {{ ref('int_policy_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_policy_addresses__changed'},
    anew_unless_continued=true,
) }}

with evidence as (
    select * from {{ ref('int_suppression_evidence__collected') }}
    {% if is_carried_on() %}
    where address in (select address from {{ ref('int_policy_addresses__changed') }})
    {% endif %}
),

causes as (
    select * from {{ ref('int_suppression_causes__collected') }}
    where list_name = 'suppression' and address in (select address from evidence)
),

messages as (
    select
        address as recipient,
        delivered_at
    from {{ ref('int_later_deliveries__collected') }}
    where address in (select address from evidence)
    union all
    select
        address as recipient,
        delivered_at
    from {{ source('landing', 'retained_deliveries') }}
    where is_outcome
),

policies as (
    select 'smtp_5xx' as suppression_policy
    union all
    select 'recipient' as suppression_policy
),

-- what counts under each policy, as two lists that are replayed at once
policy_causes as (
    select causes.* replace (policies.suppression_policy as list_name)
    from causes
    inner join policies
        on
            policies.suppression_policy = 'smtp_5xx'
            or causes.is_about_recipient is null
            or causes.is_about_recipient
),

changes as (
    {{ replayed_ledger('policy_causes') }}
),

verdicts as (
    select
        list_name as suppression_policy,
        address,
        case
            when event_id is not null then 'suppress'
            when action = 'imported' then 'added'
            else action
        end as verdict,
        event_id
    from changes
    qualify row_number() over (
        partition by list_name, address
        order by occurred_at desc, action in ('added', 'imported') desc, suppression_event_id desc
    ) = 1
),

actions as (
    select * from {{ ref('int_actions__collected') }}
    where list_name = 'suppression' and address in (select address from evidence)
),

last_actions as (
    select
        address,
        max_by(action, (acted_at, action_id)) as last_action,
        max(acted_at) as last_action_at
    from actions
    group by address
),

addresses as (
    select
        address,
        count(*) as hard_bounce_count,
        max(event_at) as last_hard_bounce_at,
        max_by(event_id, (event_at, event_id)) as last_event_id
    from evidence
    group by address
),

judged as (
    select
        addresses.address,
        addresses.hard_bounce_count,
        addresses.last_hard_bounce_at,
        coalesce(smtp_5xx.verdict, 'keep') as smtp_5xx_verdict,
        coalesce(recipient.verdict, 'keep') as recipient_verdict,
        smtp_5xx.event_id as smtp_5xx_event_id,
        recipient.event_id as recipient_event_id,
        coalesce(recipient.event_id, smtp_5xx.event_id, addresses.last_event_id) as event_id
    from addresses
    left join verdicts as smtp_5xx
        on addresses.address = smtp_5xx.address and smtp_5xx.suppression_policy = 'smtp_5xx'
    left join verdicts as recipient
        on addresses.address = recipient.address and recipient.suppression_policy = 'recipient'
),

deliveries as (
    select
        judged.address,
        count(*) as delivered_after_count
    from judged
    inner join evidence on judged.event_id = evidence.event_id
    inner join messages on judged.address = messages.recipient and evidence.event_at < messages.delivered_at
    group by judged.address
)

select
    judged.address,
    evidence.recipient_domain,
    judged.smtp_5xx_verdict,
    judged.recipient_verdict,
    judged.smtp_5xx_event_id,
    judged.recipient_event_id,
    judged.event_id,
    evidence.event_at as hard_bounced_at,
    evidence.text_id,
    evidence.reason,
    evidence.rule_id,
    evidence.response_text,
    judged.hard_bounce_count,
    judged.last_hard_bounce_at,
    coalesce(deliveries.delivered_after_count, 0) as delivered_after_count,
    last_actions.last_action,
    last_actions.last_action_at
from judged
inner join evidence on judged.event_id = evidence.event_id
left join deliveries on judged.address = deliveries.address
left join last_actions on judged.address = last_actions.address
