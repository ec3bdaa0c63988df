{#-
    The one normal form of an address, in which addresses are compared and joined: without display name and angle
    brackets, trimmed, lower case. Plus tags and dots stay: they are different mailboxes to all but a few providers.
-#}
{% macro normal_address(text) -%}
    nullif(lower(trim(coalesce({{ regex_group(text, '<([^<>]*)>\s*$') }}, {{ text }}))), '')
{%- endmacro %}

{#- What follows the last @ of an address in normal form. -#}
{% macro address_domain(address) -%}
    {{ regex_group(address, '@([^@]+)$') }}
{%- endmacro %}

{#- The domain of a From header such as `"News" <news@brand.example>` (of its first address), or a domain by itself. -#}
{% macro header_domain(header) -%}
    lower(coalesce(
        {{ regex_group(header, '@([^\s@>,;"]+)') }},
        {{ regex_group(header, '^\s*([^\s@<>",;]+[.][^\s@<>",;]+)\s*$') }}
    ))
{%- endmacro %}
