{#-
    The one normal form of an address, in which addresses are compared and joined: without display name and angle
    brackets, trimmed, lower case, an international domain as DNS knows it (`idna_domain` of flows/addresses.py). Plus
    tags and dots stay: they are different mailboxes to all but a few providers.
-#}
{% macro normal_address(text) -%}
    {#- most have no brackets: the pattern need not look for them #}
    {%- set bracketed = "case when contains(" ~ text ~ ", '<') then " ~ regex_group(text, '<([^<>]*)>\s*$') ~ " end" -%}
    {%- set bare = "lower(trim(coalesce(" ~ bracketed ~ ", " ~ text ~ ")))" -%}
    nullif(
        case
            {#- with nothing behind the @ there is no domain #}
            when strlen({{ text }}) > length({{ text }}) and contains({{ text }}, '@') and not ends_with({{ bare }}, '@')
                then regexp_replace({{ bare }}, '[^@]*$', '') || idna_domain({{ regex_group(bare, '([^@]*)$') }})
            else {{ bare }}
        end, ''
    )
{%- endmacro %}

{#- What follows the last @ of an address in normal form. No pattern: it is asked of every event, several times. -#}
{% macro address_domain(address) -%}
    case when contains({{ address }}, '@') then nullif(split_part({{ address }}, '@', -1), '') end
{%- endmacro %}

{#- The domain of a From header such as `"News" <news@brand.example>` (of its first address), or a domain by itself. -#}
{% macro header_domain(header) -%}
    lower(coalesce(
        {{ regex_group(header, '@([^\s@>,;"]+)') }},
        {{ regex_group(header, '^\s*([^\s@<>",;]+[.][^\s@<>",;]+)\s*$') }}
    ))
{%- endmacro %}
