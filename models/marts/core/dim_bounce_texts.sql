with judgements as (
    -- texts of providers that mean the same by it are one
    select
        text_id,
        min(bounce_text) as bounce_text,
        min(reason) as reason,
        min(rule_id) as rule_id,
        min(rule_set_version) as rule_set_version
    from {{ ref('int_bounce_texts__judged') }}
    group by text_id
),

retained as (
    select
        *,
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id
    from {{ source('landing', 'retained_texts') }}
),

uses_of_events as (
    select
        text_id,
        min(event_date) as first_date,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        sum(event_count) as event_count
    from {{ ref('int_bounce_texts__used') }}
    group by text_id
),

uses_by_kind as (
    select
        uses_of_events.text_id,
        first_days.sample_text,
        uses_of_events.first_seen_at,
        uses_of_events.last_seen_at,
        uses_of_events.event_count,
        false as is_retained
    from uses_of_events
    inner join {{ ref('int_bounce_texts__used') }} as first_days
        on uses_of_events.text_id = first_days.text_id and uses_of_events.first_date = first_days.event_date
    union all
    select
        judged.text_id,
        -- the originals have gone, as they may name somebody
        min(retained.bounce_text) as sample_text,
        min(retained.first_seen_at) as first_seen_at,
        max(retained.last_seen_at) as last_seen_at,
        sum(retained.event_count) as event_count,
        true as is_retained
    from retained
    inner join {{ ref('int_bounce_texts__judged') }} as judged on retained.judgement_id = judged.judgement_id
    group by judged.text_id
),

uses as (
    select
        text_id,
        case
            when bool_and(is_retained) then min(sample_text)
            else min(sample_text) filter (not is_retained)
        end as sample_text,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        cast(sum(event_count) as bigint) as event_count
    from uses_by_kind
    group by text_id
),

rules as (
    select * from {{ ref('bounce_rules') }}
),

reasons as (
    select * from {{ ref('bounce_reasons') }}
)

select
    judgements.text_id,
    judgements.bounce_text,
    judgements.reason,
    reasons.reason_label,
    coalesce(rules.description, concat_ws(' ', reasons.description, reasons.what_to_do)) as description,
    judgements.rule_id,
    judgements.rule_set_version,
    {{ reply_code('judgements.bounce_text') }} as smtp_code,
    {{ reply_enhanced_code('judgements.bounce_text') }} as enhanced_code,
    uses.sample_text,
    uses.first_seen_at,
    uses.last_seen_at,
    uses.event_count
from judgements
inner join uses on judgements.text_id = uses.text_id
left join rules on judgements.rule_id = rules.rule_id
left join reasons on judgements.reason = reasons.reason
