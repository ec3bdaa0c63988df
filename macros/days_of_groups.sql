{#- Days of the events of some groups, each once; `groups` is a table, or a step, with a column `message_group_id`. -#}
{% macro days_of_groups(groups) -%}
    select event_date from {{ ref('int_group_days__recorded') }}
    where message_group_id in (select message_group_id from {{ groups }})
    union
    -- what a queue manager gives up is an event of that day, unless the recipient was delivered after all
    select cast(fact_at as date) as event_date
    from {{ ref('int_postfix__queue_facts') }}
    where fact = 'expired' and message_group_id in (select message_group_id from {{ groups }})
{%- endmacro %}
