{#-
    Whether a row stands in a file of the batch. The time since when files of the batch landed, as a constant, spares the engine the row
    groups of all that landed earlier: of a condition that it has to look up it cannot tell which these are.
-#}
{% macro in_batch(table=none) -%}
    {%- set of = table ~ '.' if table else '' -%}
    {%- set digests = of ~ 'file_digest in (select file_digest from ' ~ source('landing', 'loads') ~ ')' -%}
    {%- if execute and flags.WHICH == 'build' -%}
        {%- set since = run_query('select min(landed_at) from ' ~ source('landing', 'loads')).rows[0][0] -%}
        {%- set moment = since.isoformat(sep=' ') if since else 'infinity' -%}
        {{ return(of ~ "landed_at >= timestamp '" ~ moment ~ "' and " ~ digests) }}
    {%- else -%}
        {{ return(digests) }}
    {%- endif -%}
{%- endmacro %}
