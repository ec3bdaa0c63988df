{#- Some columns of a row as one text, for people: what a test shows of a row that broke a rule. -#}
{% macro row_as_text(columns) %}
cast({
    {%- for column in columns -%}
    '{{ column }}': {{ column }}{{ ', ' if not loop.last }}
    {%- endfor -%}
} as varchar)
{%- endmacro %}
