{#-
    The first time that a query gives, as a constant: of a condition on it the engine knows the row groups that it can pass over, of one that it
    has to look up it does not. Infinity, where the query gives none; before all time, where nothing is built and nothing can be asked.
-#}
{% macro first_moment(query) -%}
    {%- if not (execute and flags.WHICH == 'build') -%}{{ return("timestamp '-infinity'") }}{%- endif -%}
    {%- set moment = run_query(query).rows[0][0] -%}
    {{ return("timestamp '" ~ (moment.isoformat(sep=' ') if moment else 'infinity') ~ "'") }}
{%- endmacro %}
