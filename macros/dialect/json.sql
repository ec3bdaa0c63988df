{#- The text at a JSON path (`$.a.b`, `$.a[0]`); null where it is missing, null or the document is none. -#}
{% macro json_text(document, path) -%}
    json_extract_string({{ document }}, '{{ path }}')
{%- endmacro %}

{#- A JSON array of texts as a list. -#}
{% macro json_texts(document, path) -%}
    cast(json_extract({{ document }}, '{{ path }}') as varchar[])
{%- endmacro %}

{#- A JSON array of objects as a list of JSON texts. -#}
{% macro json_objects(document, path) -%}
    cast(json_extract({{ document }}, '{{ path }}') as json[])
{%- endmacro %}
