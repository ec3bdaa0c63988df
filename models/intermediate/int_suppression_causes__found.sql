-- Everything that bears on the two lists, hard bounces whatever the policy makes of them. A view: only what changed is written.

{{ config(materialized='view') }}

with evidence as (
    select * from {{ ref('int_suppression_evidence__collected') }}
),

reasons as (
    select * from {{ ref('bounce_reasons') }}
),

actions as (
    select * from {{ ref('int_actions__collected') }}
),

progress as (
    select max(data_through_at) as data_through_at from {{ ref('int_sources__progress') }}
),

deliveries as (
    select
        recipient as address,
        event_at
    from {{ ref('fct_delivery_events') }}
    where event_type = 'delivered'
    union all
    select
        address,
        delivered_at as event_at
    from {{ source('landing', 'retained_deliveries') }}
),

hard_bounces as (
    select
        evidence.*,
        'hard_bounce' as cause,
        'hard bounce' as why,
        reasons.is_about_recipient
    from evidence
    inner join reasons on evidence.reason = reasons.reason
),

bounces as (
    select
        event_id,
        source_name,
        event_at,
        event_type,
        address,
        recipient_domain,
        provider,
        campaign_id,
        text_id,
        reason,
        rule_id,
        response_text,
        cause,
        why,
        is_about_recipient
    from hard_bounces
    union all
    select
        event_id,
        source_name,
        event_at,
        event_type,
        recipient as address,
        recipient_domain,
        provider_of(mx_host, recipient_domain) as provider,
        campaign_id,
        text_id,
        reason,
        rule_id,
        response_text,
        'soft_bounces' as cause,
        'soft bounces on {{ var("soft_bounce_days") }} days within {{ var("soft_bounce_window_days") }} days' as why,
        -- an option of its own, whatever the policy makes of hard bounces
        true as is_about_recipient
    from {{ ref('int_soft_bounces__repeated') }}
),

-- why a bounce stops counting by itself, the first of all such reasons
endings as (
    select
        bounces.event_id,
        bounces.cause,
        -- a bounce that came in after the recovery, of the same wave, never counts
        greatest(recoveries.acted_at, bounces.event_at) as ends_at,
        'reverted' as end_action,
        recoveries.acted_by as ended_by,
        recoveries.why as end_why,
        {{ digest(["'reverted'", 'recoveries.action_id', 'bounces.event_id', 'bounces.cause']) }} as end_id
    from bounces
    inner join actions as recoveries
        on
            recoveries.action = 'recover'
            and {{ matches_recovery('bounces', 'recoveries') }}
    union all
    select
        bounces.event_id,
        bounces.cause,
        bounces.event_at + interval {{ var('suppression_expiry_days') }} day as ends_at,
        'expired' as end_action,
        'bouncehouse' as ended_by,
        'no bounce for {{ var("suppression_expiry_days") }} days' as end_why,
        {{ digest(["'expired'", 'bounces.event_id', 'bounces.cause']) }} as end_id
    from bounces
    cross join progress
    where
        {{ var('suppression_expiry_days') }} > 0
        and bounces.event_at + interval {{ var('suppression_expiry_days') }} day <= progress.data_through_at
    union all
    select
        bounces.event_id,
        bounces.cause,
        min(deliveries.event_at) as ends_at,
        'reactivated' as end_action,
        'bouncehouse' as ended_by,
        'delivered again' as end_why,
        {{ digest(["'reactivated'", 'bounces.event_id', 'bounces.cause']) }} as end_id
    from bounces
    inner join deliveries on bounces.address = deliveries.address and bounces.event_at < deliveries.event_at
    where {{ var('is_reactivated_on_delivery') }}
    group by bounces.event_id, bounces.cause
),

first_endings as (
    select * from endings
    qualify row_number() over (partition by event_id, cause order by ends_at, end_id) = 1
),

causes as (
    select
        'suppression' as list_name,
        case bounces.cause
            when 'hard_bounce' then bounces.event_id
            else {{ digest(["'soft_bounces'", 'bounces.event_id']) }}
        end as cause_id,
        bounces.address,
        bounces.recipient_domain,
        bounces.event_at as occurred_at,
        bounces.cause,
        false as is_removal,
        'bouncehouse' as acted_by,
        bounces.why,
        bounces.event_id,
        bounces.event_type,
        bounces.source_name,
        bounces.campaign_id,
        bounces.provider,
        bounces.text_id,
        bounces.reason,
        bounces.rule_id,
        bounces.response_text,
        first_endings.ends_at,
        first_endings.end_action,
        first_endings.ended_by,
        first_endings.end_why,
        first_endings.end_id,
        bounces.is_about_recipient
    from bounces
    left join first_endings on bounces.event_id = first_endings.event_id and bounces.cause = first_endings.cause
    union all by name
    select
        'global' as list_name,
        event_id as cause_id,
        address,
        recipient_domain,
        event_at as occurred_at,
        'complaint' as cause,
        false as is_removal,
        'bouncehouse' as acted_by,
        'complaint' as why,
        event_id,
        source_name,
        campaign_id
    from {{ ref('int_complaints__collected') }}
    union all by name
    select
        'global' as list_name,
        opt_out_id as cause_id,
        address,
        {{ address_domain('address') }} as recipient_domain,
        event_at as occurred_at,
        case when is_removal then 'resubscribe' else 'unsubscribe' end as cause,
        is_removal,
        'bouncehouse' as acted_by,
        why,
        source_name
    from {{ ref('int_opt_outs__collected') }}
    union all by name
    select * from (
        {{ action_causes('actions') }}
    )
)

select
    list_name,
    cause_id,
    address,
    recipient_domain,
    occurred_at,
    cause,
    is_removal,
    acted_by,
    why,
    event_id,
    event_type,
    source_name,
    campaign_id,
    provider,
    text_id,
    reason,
    rule_id,
    response_text,
    ends_at,
    end_action,
    ended_by,
    end_why,
    end_id,
    -- null for what is no bounce
    is_about_recipient
from causes
