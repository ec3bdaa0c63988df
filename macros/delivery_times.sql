{#-
    How long each message took to be accepted, and by which attempt, from all events of the messages: one row for each that was, of
    the day of its first acceptance, with the lower bound of its bucket. Nothing that came after an acceptance matters. Nearly
    all messages are accepted once, and of these no more is kept in mind than a time: what an acceptance says of itself is read again.
-#}
{% macro delivery_times(events) -%}
    {%- set said = ['event_at', 'event_date', 'campaign_id', 'from_domain', 'sending_ip', 'provider', 'attempt_number'] %}
    with messages as (
        select
            message_recipient_id,
            source_name,
            min(event_at) as first_event_at,
            count(*) filter (event_type = 'delivered') as delivery_count
        from {{ events }}
        group by message_recipient_id, source_name
        having delivery_count > 0
    ),

    deliveries as (
        select
            events.source_name,
            {%- for column in said %}
            events.{{ column }},
            {%- endfor %}
            messages.first_event_at
        from {{ events }} as events
        inner join messages
            on events.message_recipient_id = messages.message_recipient_id and events.source_name = messages.source_name
        where events.event_type = 'delivered' and messages.delivery_count = 1
        union all by name
        select
            source_name,
            unnest(first_delivery),
            first_event_at
        from (
            select
                events.source_name,
                messages.first_event_at,
                min_by(
                    {
                        {%- for column in said %}
                        '{{ column }}': events.{{ column }}{{ ',' if not loop.last }}
                        {%- endfor %}
                    },
                    (events.event_at, events.event_id)
                ) as first_delivery
            from {{ events }} as events
            inner join messages
                on events.message_recipient_id = messages.message_recipient_id and events.source_name = messages.source_name
            where events.event_type = 'delivered' and messages.delivery_count > 1
            group by events.source_name, messages.first_event_at, messages.message_recipient_id
        )
    )

    select
        * exclude (event_at, first_event_at),
        {{ bucket_start('cast(epoch(event_at) - epoch(first_event_at) as bigint)') }} as seconds_from
    from deliveries
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
