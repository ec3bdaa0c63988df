{#- The text at a JSON path (`$.a.b`, `$.a[0]`); null where it is missing, null or the document is none. -#}
{% macro json_text(document, path) -%}
    try(json_extract_string({{ document }}, '{{ path }}'))
{%- endmacro %}

{#- The texts at several JSON paths, as a list: the document is read once. -#}
{% macro json_text_list(document, paths) -%}
    try(json_extract_string({{ document }}, ['{{ paths | join("', '") }}']))
{%- endmacro %}

{#-
    A JSON array of texts as a list; null where there is none. The engine takes what two expressions share out of their
    `try`, so each step that can fail has one of its own.
-#}
{% macro json_texts(document, path) -%}
    try(cast(try(json_extract({{ document }}, '{{ path }}')) as varchar[]))
{%- endmacro %}

{#- A JSON array of objects as a list of JSON texts; null where there is none. -#}
{% macro json_objects(document, path) -%}
    try(cast(try(json_extract({{ document }}, '{{ path }}')) as json[]))
{%- endmacro %}
