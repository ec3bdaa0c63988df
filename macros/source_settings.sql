{#-
    A setting of a source from `sources.yml` (passed in the variable `sources`), else the default. sqlfluff's stubs render
    variables and what macros return as text; `is mapping` and `is not string` here and below are for it.
-#}
{% macro source_setting(source_name, setting, default) -%}
    {%- set sources = var('sources', {}) -%}
    {%- if sources is mapping -%}
    {{ return(sources.get(source_name, {}).get(setting, default)) }}
    {%- else -%}
    {{ return(default) }}
    {%- endif -%}
{%- endmacro %}

{#-
    The first of the fields that says something, as text. A field is a landed column (`category`) or a key inside one that
    holds a JSON object (`headers.X-Campaign`, `user-variables.campaign`): what follows the first dot is the key, whole. Of a JSON
    array the first element counts. Where headers are logged as a list of {name, value}, `header_list` is that list, and
    `headers.NAME` means the first of the name. flows/sources.py lets only letters, digits and `_ - . :` into a field's name.
-#}
{% macro first_field(fields, header_list=none) -%}
    {%- if fields and fields is not string -%}
    coalesce(
        {%- for field in fields %}
        {%- set parts = field.split('.', 1) %}
        {%- if parts | length == 1 %}
        {{ first_element('"' ~ parts[0] ~ '"') }}
        {%- elif header_list and parts[0] == 'headers' %}
        list_filter(
            {{ header_list }}, lambda header: lower({{ json_text('header', '$.name') }}) = '{{ parts[1] | lower }}'
        )[1] ->> '$.value'
        {%- else %}
        {{ first_element(json_text('"' ~ parts[0] ~ '"', '$."' ~ parts[1] ~ '"')) }}
        {%- endif %}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
    )
    {%- else -%}
    cast(null as varchar)
    {%- endif -%}
{%- endmacro %}

{#- A text, or the first element where the text is a JSON array; null where it is empty. -#}
{% macro first_element(value) -%}
    nullif(case when {{ value }} like '[%' then try(json_extract_string({{ value }}, '$[0]')) else {{ value }} end, '')
{%- endmacro %}

{#-
    The sending IP that `sources.yml` gives a host, or a host's instance (`host/syslog name`), for logs that do not name it.
-#}
{% macro sending_ip_by_host(sending_ips, host, tag) -%}
    {%- if sending_ips and sending_ips is mapping -%}
    case
        {%- for name, sending_ip in sending_ips.items() if '/' in name %}
        when {{ host }} = '{{ name.split('/', 1)[0] }}' and split_part({{ tag }}, '/', 1) = '{{ name.split('/', 1)[1] }}' then '{{ sending_ip }}'
        {%- endfor %}
        {%- for name, sending_ip in sending_ips.items() if '/' not in name %}
        when {{ host }} = '{{ name }}' then '{{ sending_ip }}'
        {%- endfor %}
    end
    {%- else -%}
    cast(null as varchar)
    {%- endif -%}
{%- endmacro %}
