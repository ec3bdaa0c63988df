{#- Of rows of fct_messages: whether a build judges them again though the batch says nothing of them, as time can end them. -#}
{% macro is_open_message() -%}
    outcome = 'in_flight'{{ '' if is_continued() or is_resumed() else ' or has_linked_report' }}
{%- endmacro %}
