{#-
    What two spellings of a message's id have in common: no angle brackets, lower case; and no domain where a provider puts
    its own id in front of it (Amazon SES's Message-ID is `<messageId@email.amazonses.com>`).
-#}
{% macro message_key(message_id) -%}
    regexp_replace(lower(trim({{ message_id }}, '<> ')), '@(?:[a-z0-9-]+[.])?amazonses[.]com$', '')
{%- endmacro %}
