{#-
    Codes are taken from the remote's own words first. A reply starts with its code (RFC 5321 4.2); where a provider
    wraps it in words of its own, the innermost reply is the one followed by an enhanced code.
-#}
{% macro reply_code(reply) -%}
    try_cast(coalesce(
        {{ regex_group(reply, '^([2-5]\d\d)(?:[ \-]|$)') }},
        {{ regex_group(reply, '(?:^|[^\d.])([245]\d\d)[ \-]+[^\w\s]?[245]\.\d{1,3}\.\d{1,3}(?:[^\d.]|$)') }}
    ) as smallint)
{%- endmacro %}

{#- The enhanced status code (RFC 3463) that goes with `reply_code`, else one the text starts with. -#}
{% macro reply_enhanced_code(reply) -%}
    coalesce(
        {{ regex_group(reply, '^[2-5]\d\d[ \-]+\W{0,2}([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|$)') }},
        {{ regex_group(reply, '(?:^|[^\d.])[245]\d\d[ \-]+[^\w\s]?([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|$)') }},
        {{ regex_group(reply, '^\W{0,2}([245]\.\d{1,3}\.\d{1,3})(?:[^\d.]|$)') }}
    )
{%- endmacro %}

{#-
    Hard or soft, as design has it: the reply code's first digit decides; without a code the enhanced code's class;
    without either the event type. Null for what is no failure.
-#}
{% macro bounce_class(smtp_code, enhanced_code, event_type) -%}
    case
        when {{ event_type }} not in ('deferred', 'bounced', 'expired', 'out_of_band_bounce') then null
        when {{ smtp_code }} between 500 and 599 then 'hard'
        when {{ smtp_code }} between 400 and 499 then 'soft'
        when left({{ enhanced_code }}, 1) = '5' then 'hard'
        when left({{ enhanced_code }}, 1) = '4' then 'soft'
        when {{ event_type }} in ('bounced', 'out_of_band_bounce') then 'hard'
        else 'soft'
    end
{%- endmacro %}
