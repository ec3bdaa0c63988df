{#- Whether a row stands in a file of the batch. Of rows that landed before its first file nothing else has to be read. -#}
{% macro in_batch(table=none) -%}
    {%- set of = table ~ '.' if table else '' -%}
    {%- set since = first_moment('select min(landed_at) from ' ~ source('landing', 'loads')) -%}
    {%- set digests = of ~ 'file_digest in (select file_digest from ' ~ source('landing', 'loads') ~ ')' -%}
    {{ return(of ~ 'landed_at >= ' ~ since ~ ' and ' ~ digests) }}
{%- endmacro %}
