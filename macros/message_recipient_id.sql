{#- What names a message to one recipient: its group, which of the lives of a queue id, its id and the recipient. -#}
{% macro message_recipient_id(life_number) -%}
    {{ digest(['message_group_id', life_number, 'message_id', 'recipient']) }}
{%- endmacro %}
