{#- The provider of what is retained: as it was counted; older passes kept none, and by then the recipient's domain is all there is. -#}
{% macro retained_provider(retained) -%}
    coalesce({{ retained }}.provider, provider_of(null, {{ retained }}.recipient_domain), 'other')
{%- endmacro %}
