{#- Whether a row stands in a file of the batch. The time of landing spares the engine what landed earlier. -#}
{% macro in_batch(table=none) -%}
    {%- set of = table ~ '.' if table else '' -%}
    ({{ of }}file_digest, {{ of }}landed_at) in (select (file_digest, landed_at) from {{ source('landing', 'loads') }})
{%- endmacro %}
