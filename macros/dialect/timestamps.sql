{#-
    ISO 8601 text with an offset or Z (none means UTC) as a UTC timestamp; digits beyond microseconds are cut. Z alone is read in half
    the time by the plain cast, which knows no offsets.
-#}
{% macro timestamp_from_iso(text) -%}
    coalesce(
        case when {{ text }} like '%Z' then try_cast({{ text }} as timestamp) end,
        cast(
            coalesce(try_cast({{ text }} as timestamptz), try_cast(replace({{ text }}, ',', '.') as timestamptz)) at time zone 'UTC'
            as timestamp
        )
    )
{%- endmacro %}

{#-
    Seconds since 1970, as text or number, as a UTC timestamp; null where that is no number or lies beyond all time. A
    double tells microseconds apart until the year 2255, and is read twenty times as fast as a decimal.
-#}
{% macro timestamp_from_epoch(seconds) -%}
    try(make_timestamp(cast(round(try_cast({{ seconds }} as double) * 1000000) as bigint)))
{%- endmacro %}

{#-
    A syslog time such as `Jul 5 06:52:11` (RFC 3164 leaves the year out) in the latest year in which it is at most a day
    after the anchor date. February 29 may lie up to eight years back; any other day is of the year of the anchor date or the one before,
    or of the next, where that begins tomorrow.
-#}
{% macro timestamp_without_year(text, anchor_date) -%}
    case
        when starts_with({{ text }}, 'Feb 29') then {{ timestamp_in_latest_year(text, anchor_date, 8) }}
        else {{ timestamp_in_latest_year(text, anchor_date, 1) }}
    end
{%- endmacro %}

{% macro timestamp_in_latest_year(text, anchor_date, years_back) -%}
    list_max(list_filter(
        [
            {%- for back in range(-1, years_back + 1) %}
            try_strptime((year({{ anchor_date }}) - {{ back }}) || ' ' || {{ text }}, '%Y %b %d %H:%M:%S')
            {%- if not loop.last %},{% endif %}
            {%- endfor %}
        ],
        lambda candidate: candidate < {{ anchor_date }} + interval 2 day
    ))
{%- endmacro %}

{#-
    A timestamp as a clock in the IANA zone showed it, in UTC. An hour that daylight saving doubles is taken as its second
    pass, in standard time; one that it skips is taken as if the clock had not been put forward.
-#}
{% macro local_to_utc(timestamp, time_zone) -%}
    cast(timezone('UTC', timezone('{{ time_zone }}', {{ timestamp }})) as timestamp)
{%- endmacro %}
