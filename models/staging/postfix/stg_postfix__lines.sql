-- Syslog lines of Postfix taken apart: which queue id they speak of, and what they say.
-- Format: the msg_info() calls in Postfix's src/global/log_adhoc.c (recipient lines), src/qmgr and src/cleanup.

{{ config(materialized='table') }}

{# Short ids are hexadecimal; long ids (enable_long_queue_ids) are digits and consonants, at least ten. #}
{% set queue_id = '(?:[0-9A-F]{5,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,})' %}

{% set time_zone = source_setting('postfix', 'time_zone', 'UTC') %}
{% set content_filters = [] %}
{% set relays = source_setting('postfix', 'content_filters', ['127.0.0.1:10024', '127.0.0.1:10025', '127.0.0.1:10026']) %}
{% for relay in relays if relays is not string -%}
{% do content_filters.append(relay | replace('.', '[.]') | replace(':', '\\]:')) %}
{%- endfor %}

with lines as (
    select
        * replace (
            -- rsyslog folds a line that comes again (`$RepeatedMsgReduction`)
            case
                when starts_with(message, 'message repeated ')
                    then regexp_replace(message, '^message repeated \d+ times: \[ ?(.*)\]$', '\1')
                else message
            end as message
        ),
        starts_with(message, 'message repeated ') as is_repeated,
        {{ regex_group('tag', '([^/]+)$') }} as process,
        -- the day is padded with a space
        replace(logged_at, '  ', ' ') as logged_text
    from {{ source('landing', 'postfix') }}
),

timed as (
    select
        *,
        case
            when {{ regex_matches('logged_at', '^[A-Z]') }}
                then {{ local_to_utc(timestamp_without_year('logged_text', 'anchor_date'), time_zone) }}
            when {{ regex_matches('logged_at', '^[0-9]{4} [A-Z]') }}
                then {{ local_to_utc(
                    "coalesce(try_strptime(logged_text, '%Y %b %d %H:%M:%S.%f'), try_strptime(logged_text, '%Y %b %d %H:%M:%S'))",
                    time_zone
                ) }}
            when not {{ regex_matches('logged_at', '(Z|[+-][0-9:]{4,6})$') }}
                then {{ local_to_utc("try_cast(replace(logged_at, ',', '.') as timestamp)", time_zone) }}
            else {{ timestamp_from_iso('logged_at') }}
        end as event_at
    from lines
),

-- a pattern is tried where a line has the words that it asks for: to look for these takes a tenth of its time
read as (
    select
        *,
        {{ regex_group('message', '^(' ~ queue_id ~ '): ') }} as queue_id,
        case
            when contains(message, 'status=')
                then {{ regex_groups(
                    'message',
                    '^' ~ queue_id ~ ': to=<?(.+?)>?, (?:orig_to=<?(.*?)>?, )?relay=([^,]+), .*?(?:dsn=([0-9.]+), )?status=([A-Za-z-]+)(?: \((.*?)\)?)?$',
                    ['to', 'orig_to', 'relay', 'dsn', 'status', 'text']
                ) }}
        end as recipient_line,
        -- header_checks with INFO or WARN write a header's text (cleanup(8))
        case
            when contains(message, ': header ')
                then {{ regex_groups(
                    'message',
                    '^' ~ queue_id ~ ': (?:info|warning): header ([^:]+):\s*(.*?) from [^;]+; from=<',
                    ['header_name', 'header_value']
                ) }}
        end as header_line,
        case
            when contains(message, 'message-id=')
                then {{ regex_group('message', '^' ~ queue_id ~ ': (?:resent-)?message-id=<?([^<>\s]+)>?') }}
        end as message_id,
        case
            when contains(message, ': from=')
                then {{ regex_groups(
                    'message',
                    '^' ~ queue_id ~ ': from=<?(.*?)>?, (size|status)=([a-z-]*)',
                    ['sender', 'what', 'status']
                ) }}
        end as sender_line
    from timed
),

parsed as (
    select
        *,
        -- amavisd and its like: `sent` means handed over, and the mail comes back under another id
        {{ regex_matches("coalesce(recipient_line.relay, '')", '\[(' ~ content_filters | join('|') ~ ')$') }}
        or {{ regex_matches("coalesce(recipient_line.text, '')", '\[(' ~ content_filters | join('|') ~ ')[: ]') }} as is_at_filter
    from read
)

select
    event_at,
    host,
    tag,
    process,
    queue_id,
    {{ digest(["'postfix'", 'host', 'queue_id']) }} as message_group_id,
    {{ digest(["'postfix'", 'host', 'event_at', 'message']) }} as line_id,
    case
        when queue_id is null then 'other'
        when recipient_line.status <> '' then 'recipient'
        when header_line.header_name <> '' then 'header'
        when message_id is not null then 'message_id'
        when sender_line.status in ('expired', 'force-expired') then 'expired'
        when sender_line.what = 'size' then 'sender'
        when message = queue_id || ': removed' then 'removed'
        else 'other'
    end as line_kind,
    nullif(recipient_line.to, '') as recipient_text,
    nullif(recipient_line.relay, '') as relay,
    nullif(recipient_line.dsn, '') as dsn,
    nullif(recipient_line.status, '') as status,
    nullif(recipient_line.text, '') as text,
    nullif(header_line.header_name, '') as header_name,
    nullif(header_line.header_value, '') as header_value,
    message_id,
    nullif(sender_line.sender, '') as sender,
    -- the id under which a content filter gave the message back
    case
        when is_at_filter and recipient_line.status = 'sent'
            then {{ regex_group('recipient_line.text', 'queued as (' ~ queue_id ~ ')\\)*\\s*$') }}
    end as next_queue_id,
    is_at_filter,
    is_repeated,
    source_file,
    file_digest,
    record_number,
    record_part,
    landed_at
from parsed
