{#- A group as a number: half the bytes, where a day too many costs time only. -#}
{% macro group_key(message_group_id) -%}
    {{ digest_number('cast(' ~ message_group_id ~ ' as varchar)') }}
{%- endmacro %}

{#-
    Days of the records of some groups, each once; `groups` is a table, or a step, with a column `message_group_id`. They are looked up
    by way of a list, and come out of one: of a step the engine may expect more groups than there are in all history, and would make its
    table of those, and more days than there are messages, and would look for them last.
-#}
{% macro days_of_groups(groups) -%}
    select unnest(list(distinct event_date)) as event_date from {{ ref('int_group_days__recorded') }}
    where group_key in (select unnest(list(distinct {{ group_key('message_group_id') }})) from {{ groups }})
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
