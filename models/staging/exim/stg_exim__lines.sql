-- Lines of Exim's mainlog taken apart: which message they speak of, and what they say.
-- Format: Exim specification, chapter "Log files"; src/deliver.c and src/receive.c where it is silent.

{{ config(materialized='table') }}

with lines as (
    select
        *,
        {{ regex_group('logged_at', '([+-]\d{4})$') }} as zone
    from {{ source('landing', 'exim') }}
),

timed as (
    select
        *,
        case
            when zone is not null
                then {{ timestamp_from_iso("replace(logged_at, ' ' || zone, zone)") }}
            else {{ local_to_utc('try_cast(logged_at as timestamp)', source_setting('exim', 'time_zone', 'UTC')) }}
        end as event_at,
        case
            when exim_id is not null
                then {{ regex_group('message', '^(<=|=>|->|>>|\*>|==|\*\*|Completed)(?: |$)') }}
        end as flag
    from lines
),

flagged as (
    select
        *,
        {# The subject is last but for the recipients, and may hold anything, quotes too. #}
        case when flag = '<=' then split_part(message, ' T="', 1) end as arrival,
        case when flag in ('=>', '->', '>>', '*>', '==', '**') then {{ regex_groups(
            'message',
            '^\S+ ("[^"]*"[^\s:]*|:\w+:|\S+?)(?: <([^>]*)>)?(: .*| .*|)$',
            ['address', 'original', 'rest']
        ) }} end as delivery
    from timed
),

parsed as (
    select
        *,
        case flag
            when '**' then {{ regex_groups('delivery.rest', '^(.*?): (.*)$', ['items', 'text']) }}
            -- `defer (-44): SMTP error …` or, since 4.9, `defer (-44) H=mx.example [192.0.2.1]: SMTP error …`
            when '==' then {{ regex_groups('delivery.rest', '^(.*? defer \(-?\d+\).*?): (.*)$', ['items', 'text']) }}
        end as failure,
        case
            when flag in ('=>', '->', '>>')
                then {{ regex_group('delivery.rest', ' C="(.*)"(?: [A-Z]+=\S+)*$') }}
        end as confirmation
    from flagged
),

itemised as (
    select
        *,
        case
            when flag in ('==', '**') then coalesce(nullif(failure.items, ''), delivery.rest)
            else split_part(delivery.rest, ' C="', 1)
        end as items
    from parsed
)

select
    event_at,
    exim_id,
    flag,
    message,
    {{ digest(["'exim'", 'exim_id']) }} as message_group_id,
    {{ digest(["'exim'", 'logged_at', 'exim_id', 'message']) }} as line_id,
    case
        when flag = '<=' then 'arrival'
        when flag in ('=>', '->', '>>', '==', '**') then 'recipient'
        when flag = 'Completed' then 'removed'
        else 'other'
    end as line_kind,
    nullif({{ regex_group('arrival', '^<= (\S+)') }}, '<>') as sender,
    {{ regex_group('arrival', '^.* id=(\S+)') }} as message_id,
    -- log_selector = +received_recipients
    case
        when flag = '<='
            then string_split({{ regex_group('message', '^(?:.*"|[^"]* P=\S+)[^"]*? for ([^"]+)$') }}, ' ')
    end as recipients,
    case
        -- a file, a pipe with its arguments or `:blackhole:` stands for the address that led there
        when {{ regex_matches('delivery.address', '^[/|:]') }}
            then {{ regex_group('message', '^\S+ .*? <([^<>\s]+@[^<>\s]+)>(?: |$)') }}
        when {{ regex_matches('delivery.address', '@') }} then delivery.address
        else coalesce(nullif(delivery.original, ''), delivery.address)
    end as recipient_text,
    coalesce(delivery.address = ':blackhole:', false) as is_discarded,
    {{ regex_group('items', ' F=<([^>]*)>') }} as envelope_sender,
    {{ regex_groups(
        'items', ' H=(?:([^\s(\[]+) )?(?:\([^)]*\) )?\[([0-9A-Fa-f:.]+)\]', ['mx_host', 'mx_ip']
    ) }} as host,
    {{ regex_group('items', ' I=\[([0-9A-Fa-f:.]+)\]') }} as sending_ip,
    confirmation,
    nullif(coalesce(failure.text, ''), '') as text,
    source_file,
    file_digest,
    record_number,
    record_part,
    landed_at
from itemised
