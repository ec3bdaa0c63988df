with bounces as (
    select * from {{ ref('int_unclassified_bounces__collected') }}
),

daily as (
    select * from {{ ref('int_bounce_texts__daily') }}
),

texts as (
    select * from {{ ref('dim_bounce_texts') }}
),

totals as (
    select
        sum(bounce_count) as bounce_count,
        max(event_date) as last_date
    from daily
),

uses as (
    select
        bounces.text_id,
        bounces.provider,
        bounces.evidence,
        count(*) as bounce_count,
        count(*) filter (bounces.event_date > totals.last_date - {{ var('recent_days') }}) as recent_bounce_count,
        any_value(totals.bounce_count) as all_bounce_count,
        count(distinct bounces.message_recipient_id) as message_count,
        count(distinct bounces.recipient) as address_count,
        min(bounces.event_at) as first_seen_at,
        max(bounces.event_at) as last_seen_at,
        min_by(bounces.response_text, (bounces.event_at, bounces.event_id)) as sample_text
    from bounces
    cross join totals
    group by bounces.text_id, bounces.provider, bounces.evidence
)

select
    uses.text_id,
    uses.provider,
    texts.bounce_text,
    texts.reason,
    texts.rule_id,
    uses.evidence,
    uses.bounce_count,
    uses.recent_bounce_count,
    cast(uses.bounce_count as double) / cast(uses.all_bounce_count as double) as bounce_share,
    uses.message_count,
    uses.address_count,
    uses.first_seen_at,
    uses.last_seen_at,
    uses.sample_text
from uses
inner join texts on uses.text_id = texts.text_id
