-- Bounces whose words no rule knows: nothing judged them, or only a code that servers use for anything did.

{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with bounces as (
    select * from {{ ref('fct_bounces') }}
    where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
),

-- the name under which int_bounce_replies__masked keeps an empty reply
texts_without_words as (
    select * from {{ ref('int_bounce_texts__judged') }}
    where bounce_text = '(no reply logged)'
),

reply_code_rules as (
    select * from {{ ref('bounce_rules') }}
    where evidence = 'reply_code'
),

generic_codes as (
    select * from {{ ref('enhanced_status_codes') }}
    where trust = 'generic'
),

with_evidence as (
    select
        *,
        case
            when text_id in (select text_id from texts_without_words) then 'no_reply'
            when reason = 'undetermined' then 'none'
            when rule_id in (select rule_id from reply_code_rules) then 'reply_code'
            when rule_id in (select 'code_' || enhanced_code from generic_codes) then 'generic_code'
        end as evidence
    from bounces
)

select
    event_id,
    event_at,
    event_date,
    message_recipient_id,
    recipient,
    provider,
    text_id,
    reason,
    rule_id,
    evidence,
    response_text
from with_evidence
where evidence is not null
