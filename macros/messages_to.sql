{#- A recipient as a number (int_message_keys__logged). -#}
{% macro recipient_key(recipient) -%}
    {{ short_digest_number(recipient) }}
{%- endmacro %}

{#-
    Groups and days, each pair once, among whose events are all those of messages to the addresses from a moment on; some others, too.
    `addresses` is a table, or a step, with a column `address`; `since` a constant time (macros/first_moment.sql).
-#}
{% macro groups_of_messages_to(addresses, since) -%}
    {%- set keys = 'select ' ~ recipient_key('address') ~ ' from ' ~ addresses -%}
    select distinct
        event_date,
        message_group_id
    from {{ ref('int_message_keys__logged') }}
    where
        recipient_key in ({{ keys }})
        -- first the days, by the numbers alone: groups are wider
        and event_date in (
            select distinct event_date from {{ ref('int_message_keys__logged') }}
            where
                event_date >= cast({{ since }} as date)
                and recipient_key in ({{ keys }})
        )
{%- endmacro %}
