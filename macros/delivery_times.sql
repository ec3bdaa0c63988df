{#-
    How long each message took to be accepted, and by which attempt, from all events of the messages: one row for each that was, of
    the day of its first acceptance, with the lower bound of its bucket. Nothing that came after an acceptance matters.
-#}
{% macro delivery_times(events) -%}
    select
        delivery.event_date,
        source_name,
        delivery.campaign_id,
        delivery.from_domain,
        delivery.sending_ip,
        delivery.provider,
        delivery.attempt_number,
        {{ bucket_start('cast(epoch(delivery.event_at) - epoch(first_event_at) as bigint)') }} as seconds_from
    from (
        select
            message_recipient_id,
            source_name,
            min(event_at) as first_event_at,
            min_by(
                {
                    'event_at': event_at,
                    'event_date': event_date,
                    'campaign_id': campaign_id,
                    'from_domain': from_domain,
                    'sending_ip': sending_ip,
                    'provider': provider,
                    'attempt_number': attempt_number
                },
                (event_at, event_id)
            ) filter (event_type = 'delivered') as delivery
        from {{ events }}
        group by message_recipient_id, source_name
        having count(*) filter (event_type = 'delivered') > 0
    )
{%- endmacro %}

{#- Bounds that people ask for, none more than twice the one before: of a bucket [from, to), in seconds; the last is open. -#}
{%- macro time_bounds() -%}
    0 1 2 3 5 7 10 15 20 30 45 60 90 120 180 300 450 600 900 1200 1800 2700 3600 5400 7200 10800 14400 21600 28800 43200 64800
    86400 129600 172800 259200 432000 604800
{%- endmacro %}

{% macro bucket_start(seconds) -%}
    cast(case
        {%- for bound in time_bounds().split() | reverse %}
        when {{ seconds }} >= {{ bound }} then {{ bound }}
        {%- endfor %}
    end as bigint)
{%- endmacro %}

{% macro bucket_end(seconds) -%}
    cast(case
        {%- for bound in time_bounds().split() %}
        when {{ seconds }} < {{ bound }} then {{ bound }}
        {%- endfor %}
    end as bigint)
{%- endmacro %}
