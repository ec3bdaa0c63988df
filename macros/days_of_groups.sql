{#- A group as a number: half the bytes, where a day too many costs time only. -#}
{% macro group_key(message_group_id) -%}
    {{ digest_number('cast(' ~ message_group_id ~ ' as varchar)') }}
{%- endmacro %}

{#-
    Values of a step for a condition with `in`, by way of a list: of a step the engine may expect more values than there are rows in all
    history, and would make its table of those; of a list it expects one.
-#}
{% macro listed(expression, step) -%}
    select unnest(list(distinct {{ expression }})) from {{ step }}
{%- endmacro %}

{#-
    Days of the records of some groups, each once; `groups` is a table, or a step, with a column `message_group_id`. They come out of a list
    too, so that they are looked for first; groups that are looked for beside them have to be `listed` as well, or joined after.
-#}
{% macro days_of_groups(groups) -%}
    select unnest(list(distinct event_date)) as event_date from {{ ref('int_group_days__recorded') }}
    where group_key in ({{ listed(group_key('message_group_id'), groups) }})
{%- endmacro %}

{#-
    Days on which messages may have begun, of those on which there are events of theirs: a table, or a step, with a column `event_date`.
    A report that is linked to a message may be up to five minutes older than its log.
-#}
{% macro first_dates(event_days) -%}
    select event_date as first_event_date from {{ event_days }}
    union
    select event_date - 1 as first_event_date from {{ event_days }}
{%- endmacro %}

{#- Days on which the messages of some groups may have begun, for whoever looks for these among all. -#}
{% macro first_dates_of_groups(groups) -%}
    with event_days as (
        {{ days_of_groups(groups) }}
    )

    {{ first_dates('event_days') }}
{%- endmacro %}
