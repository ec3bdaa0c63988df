{#- The group of the first match; null where nothing matches. -#}
{% macro regex_group(text, pattern, group=1) -%}
    nullif(regexp_extract({{ text }}, '{{ pattern }}', {{ group }}), '')
{%- endmacro %}

{#- Whether the pattern occurs anywhere in the text. -#}
{% macro regex_matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{#- A struct of all groups of the first match, each '' where nothing matches. -#}
{% macro regex_groups(text, pattern, names) -%}
    regexp_extract({{ text }}, '{{ pattern }}', ['{{ names | join("', '") }}'])
{%- endmacro %}
