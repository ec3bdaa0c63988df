-- What the rules say of each bounce text, by class of server: judged once, when first seen under a rule set.

{{ config(
    materialized='incremental',
    unique_key='judgement_id',
) }}

with {% if is_incremental() %}
known as (
    select * from {{ this }}
    where rule_set_version = '{{ var("rule_set_version") }}'
),
{% endif %}

replies as (
    select
        judgement_id,
        bounce_text,
        mx_class
    from {{ ref('int_bounce_replies__masked') }}
    union
    select
        {{ digest(['bounce_text', 'mx_class']) }} as judgement_id,
        bounce_text,
        mx_class
    from {{ source('landing', 'retained_texts') }}
),

texts as (
    select * from replies
    {% if is_incremental() %}
    where judgement_id not in (select judgement_id from known)
    {% endif %}
),

judged as (
    select
        *,
        judge_reply(bounce_text, mx_class) as judgement
    from texts
)

select
    judgement_id,
    bounce_text,
    mx_class,
    judgement.rule_id,
    judgement.reason,
    -- a text that two servers mean differently is two
    {{ digest(['bounce_text', 'judgement.reason']) }} as text_id,
    '{{ var("rule_set_version") }}' as rule_set_version
from judged
