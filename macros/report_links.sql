{#- Whether an event is a report of what became of a message that was sent before, which may stand apart from its log. -#}
{% macro is_report() -%}
    (event_type in ('out_of_band_bounce', 'complaint') or source_name = 'dsn')
{%- endmacro %}

{#-
    The reports among events. Not by `or`: of each of these the engine reads one column first, and the others only where it finds
    something.
-#}
{% macro reports_among(events) -%}
    select * from {{ events }}
    where event_type = 'out_of_band_bounce'
    union all
    select * from {{ events }}
    where event_type = 'complaint'
    union all
    select * from {{ events }}
    where source_name = 'dsn' and event_type not in ('out_of_band_bounce', 'complaint')
{%- endmacro %}

{#- A recipient and what else names a message, as a number; null where nothing else does. -#}
{% macro report_key(recipient, name) -%}
    {{ short_digest_number(recipient ~ " || ' ' || " ~ name) }}
{%- endmacro %}

{#- The id of the message that a return path names by one of the `verp_patterns`; null where it does not. -#}
{% macro verp_id(envelope_sender, pattern) -%}
    {{ regex_group(envelope_sender, pattern | replace("'", "''")) }}
{%- endmacro %}

{#- The messages to the recipients of the reports, out of events: what a report may speak of, and what it is told by. -#}
{% macro reported_messages(events, reports) -%}
    select
        message_recipient_id,
        message_group_id,
        source_name,
        message_id,
        recipient,
        min(envelope_sender) as envelope_sender,
        min(from_domain) as from_domain,
        min(campaign_id) as campaign_id,
        max_by(sending_ip, (event_at, event_id)) as sending_ip,
        min(event_at) as first_event_at,
        bool_or(not {{ is_report() }}) as is_logged,
        bool_or(event_type in ('bounced', 'expired') and source_name <> 'dsn') as has_failed
    from {{ events }}
    where recipient in (select report_recipient from {{ reports }})
    group by all
{%- endmacro %}

{#- What each report may speak of: messages to its recipient, from before it, and by what they are linked, if by anything. -#}
{% macro possible_links(messages, reports) -%}
    select
        reports.event_id,
        messages.* exclude (recipient, is_logged),
        case
            when {{ message_key('reports.report_message_id') }} = {{ message_key('messages.message_id') }} then 'message_id'
            {%- for pattern in var('verp_patterns', []) %}
            when {{ verp_id('reports.report_envelope_sender', pattern) }} = {{ message_key('messages.message_id') }} then 'verp'
            {%- endfor %}
            when reports.report_envelope_sender = messages.envelope_sender then 'return_path'
        end as linked_by
    from {{ reports }} as reports
    inner join {{ messages }} as messages
        on
            reports.report_recipient = messages.recipient
            and messages.is_logged
            -- reports carry whole seconds, and clocks differ
            and messages.first_event_at <= reports.report_at + interval 5 minute
{%- endmacro %}
