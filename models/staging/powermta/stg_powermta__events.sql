-- PowerMTA accounting rows as delivery events.
-- Format: PowerMTA User's Guide, "Accounting records"; null means that the file has no such column, '' that it is empty.

{% set columns = [
    'type', 'timeLogged', 'timeQueued', 'timeImprinted', 'timeFirstAttempt', 'orig', 'rcpt', 'orcpt', 'dsnAction',
    'dsnStatus', 'dsnDiag', 'dsnMta', 'dsnReportingMta', 'bounceCat', 'srcType', 'srcMta', 'rcvSourceIp',
    'rcvDestinationIp', 'dlvType', 'dlvSourceIp', 'dlvDestinationIp', 'dlvEsmtpAvailable', 'dlvSize', 'vmta',
    'vmtaPool', 'jobId', 'envId', 'queue', 'repSourceIp', 'feedbackType', 'format', 'userAgent', 'reportingMTA',
    'reportedDomain', 'headers',
] %}

with landed as (
    select
        *,
        coalesce(dlvsourceip, dlvdestinationip, dsnmta) is not null as has_connection_columns
    from {{ source('landing', 'powermta') }}
),

records as (
    select
        {% for column in columns %}
        nullif("{{ column }}", '') as "{{ column }}",
        {% endfor %}
        has_connection_columns,
        source_file,
        file_digest,
        record_number,
        record_part,
        landed_at
    from landed
),

timed as (
    select
        *,
        -- a file cut down to few fields; landing lets no other type through without timeLogged
        coalesce(timelogged, case when type in ('d', 'b') then timequeued end) as logged_text,
        case
            when type = 'f'
                then coalesce(rcpt, orcpt, {{ first_field([
                    'headers.arf_Original-Rcpt-To', 'headers.arf_original-rcpt-to', 'headers.arf_Original-Rcpt-to',
                ]) }})
            else rcpt
        end as recipient_text
    from records
),

parsed as (
    select
        *,
        case
            when {{ regex_matches('logged_text', '^\d{1,12}$') }} then {{ timestamp_from_epoch('logged_text') }}
            when {{ regex_matches('logged_text', '^\d\d?/') }}
                then {{ local_to_utc(
                    "try_strptime(logged_text, '%m/%d/%Y %H:%M:%S')", source_setting('powermta', 'time_zone', 'UTC')
                ) }}
            when {{ regex_matches('logged_text', '(?:Z|[+-]\d\d(?::?\d\d)?)$') }} and length(logged_text) > 19
                then {{ timestamp_from_iso("regexp_replace(logged_text, ' ([+-])', '\\1')") }}
            else {{ local_to_utc('try_cast(logged_text as timestamp)', source_setting('powermta', 'time_zone', 'UTC')) }}
        end as event_at,
        {{ normal_address('recipient_text') }} as recipient,
        {{ regex_group('dsnstatus', '^([245]\.\d{1,3}\.\d{1,3})') }} as dsn_code,
        coalesce(starts_with(dsndiag, 'smtp;'), false) as is_remote,
        trim(regexp_replace(dsndiag, '^[A-Za-z][A-Za-z0-9-]*;', '')) as diagnostic,
        {{ regex_groups('dsnmta', '^(?:dns;)?\s*([^\s()]*)(?:\s*\(([0-9A-Fa-f:.]+)\))?', ['mx_host', 'mx_ip']) }} as mta,
        nullif(dlvsourceip, '0.0.0.0') as source_ip,
        nullif(dlvdestinationip, '0.0.0.0') as destination_ip
    from timed
),

typed as (
    select
        *,
        case
            when recipient is null then null
            when type = 'd' then 'delivered'
            when type = 't' then 'deferred'
            when type = 'b' and (bouncecat = 'message-expired' or dsn_code like '_.4.7') then 'expired'
            -- nobody was connected to, and no search for the host failed: given up by a rule or by hand
            when
                type = 'b'
                and has_connection_columns
                and not is_remote
                and coalesce(mta.mx_host, '') = ''
                and source_ip is null
                and destination_ip is null
                and not coalesce({{ regex_matches('dsn_code', '^[45]\.(?:1\.2|4\.[1-4])$') }}, false)
                and coalesce(bouncecat, '') not in ('bad-domain', 'bad-connection', 'no-answer-from-host', 'routing-errors')
                then 'dropped'
            when type = 'b' then 'bounced'
            -- a reception that names no message would stay a message of its own, which nobody ever tried
            when type = 'r' and envid is not null then 'injected'
            when type = 'rb' then 'out_of_band_bounce'
            when type = 'f' then 'complaint'
        end as event_type
    from parsed
)

select
    'powermta' as source_name,
    -- without an envelope id only the time of queueing tells two messages apart
    {{ digest(["'powermta'", 'envid', 'jobid', 'orig', 'recipient', "case when envid is null then timequeued end"]) }}
        as message_group_id,
    {{ digest(["'powermta'"] + columns) }} as event_id,
    cast(null as varchar) as native_event_id,
    case
        when recipient is null and type not in ('tq', 'rs') then type || ' (no recipient)'
        when type = 'r' and envid is null then 'r (no envelope id)'
        else type
    end as native_event_type,
    event_at,
    event_type,
    coalesce(
        event_type in ('delivered', 'deferred', 'bounced') and coalesce(dlvtype, '') not in ('discard', 'file', 'pipe'),
        false
    ) as is_attempt,
    coalesce(
        envid,
        trim({{ first_field([
            'headers.header_Message-Id', 'headers.header_Message-ID', 'headers.header_message-id',
        ]) }}, '<> ')
    ) as message_id,
    cast(null as integer) as attempt_number,
    recipient,
    {{ normal_address('orig') }} as envelope_sender,
    {{ header_domain(first_field(
        source_setting('powermta', 'from_domain', ['headers.header_From', 'headers.header_from'])
    )) }} as from_domain,
    source_ip as sending_ip,
    {{ first_field(source_setting('powermta', 'campaign', ['jobId'])) }} as campaign_id,
    lower(nullif(rtrim(mta.mx_host, '.'), '')) as mx_host,
    coalesce(nullif(mta.mx_ip, ''), case when type in ('d', 'b', 't') then destination_ip end) as mx_ip,
    case when is_remote then {{ reply_code('diagnostic') }} end as smtp_code,
    -- dsnStatus is PowerMTA's own wherever the remote gave none
    case when is_remote then {{ reply_enhanced_code('diagnostic') }} else dsn_code end as enhanced_code,
    coalesce(diagnostic, dsnstatus) as response_text,
    case
        when type in ('r', 'f') then 'unknown'
        when is_remote then 'remote'
        when coalesce(diagnostic, dsnstatus) is null then 'unknown'
        else 'local'
    end as response_origin,
    bouncecat as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from typed
