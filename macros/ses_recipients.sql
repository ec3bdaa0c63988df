{#- A list of {address, status, diagnostic}, from a list whose element is called `item`. -#}
{% macro ses_recipients(items, address, status='null', diagnostic='null') -%}
    list_transform({{ items }}, lambda item: {
        'address': {{ address }}, 'status': cast({{ status }} as varchar), 'diagnostic': cast({{ diagnostic }} as varchar)
    })
{%- endmacro %}
