{#- A 128-bit digest of the expressions in order; nulls count, and no two lists of values share a text. -#}
{% macro digest(expressions) -%}
    md5(concat_ws(chr(31), {% for expression in expressions %}coalesce(cast({{ expression }} as varchar), chr(30)){% if not loop.last %}, {% endif %}{% endfor %}))::uuid
{%- endmacro %}
