-- Everything that bears on the two lists, as it is found now: what the next build compares with.

-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_suppression_addresses__changed'},
    anew_unless_continued=true,
) }}

select * from {{ ref('int_suppression_causes__found') }}
{% if is_carried_on() %}
where address in (select address from {{ ref('int_suppression_addresses__changed') }})
{% endif %}
