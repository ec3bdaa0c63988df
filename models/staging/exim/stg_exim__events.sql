-- Exim's lines as delivery events; every other line is of a kind that is none. Sender and Message-ID stand in the
-- arrival line, maybe in another file: int_exim__message_facts keeps them.

with lines as (
    select * from {{ ref('stg_exim__lines') }}
),

fanned_out as (
    select
        *,
        -- a line that names nobody stays one row, so that it is counted
        unnest(case when line_kind = 'arrival' then coalesce(recipients, [null]) else [recipient_text] end) as named,
        generate_subscripts(
            case when line_kind = 'arrival' then coalesce(recipients, [null]) else [recipient_text] end, 1
        ) as recipient_number,
        {{ normal_address('named') }} as recipient
    from lines
),

unwrapped as (
    select
        *,
        -- a reply of several lines is logged with \n between them
        replace(text, '\n', ' ') as words,
        {{ regex_groups(
            "replace(text, '\\n', ' ')",
            '(?:SMTP|LMTP) error from remote mail(?:er| server) after .*?: (?:host (\S+)(?: \([^)]*\))? \[([0-9A-Fa-f:.]+)\](?::\d+)?: )?([2-5]\d\d(?:[ -].*?)?)(?:: retry timeout exceeded)?$',
            ['mx_host', 'mx_ip', 'reply']
        ) }} as refusal
    from fanned_out
),

typed as (
    select
        *,
        case
            when recipient is null then null
            when line_kind = 'arrival' then 'injected'
            when line_kind <> 'recipient' then null
            when flag in ('=>', '->', '>>') then 'delivered'
            when flag = '==' then 'deferred'
            when {{ regex_matches('words', '(?:^|: )retry timeout exceeded$|have been failing for a long time') }} then 'expired'
            else 'bounced'
        end as event_type,
        nullif(refusal.reply, '') is not null or confirmation is not null as is_remote,
        coalesce(nullif(refusal.reply, ''), words, replace(confirmation, '\n', ' ')) as reply
    from unwrapped
)

select
    'exim' as source_name,
    message_group_id,
    case when line_kind = 'arrival' then {{ digest(['line_id', 'recipient']) }} else line_id end as event_id,
    cast(null as varchar) as native_event_id,
    case
        when line_kind in ('arrival', 'recipient') and recipient is null then flag || ' (no recipient)'
        when flag is not null then flag
        when exim_id is not null then 'about a message'
        else 'about no message'
    end as native_event_type,
    event_at,
    event_type,
    coalesce(
        event_type in ('delivered', 'deferred', 'bounced')
        and not is_discarded
        -- held back by the queue or by the retry rules: nobody was asked
        and not coalesce(
            {{ regex_matches('words', 'queue_(?:smtp_)?domains|-odqs? set|-odq option|retry time not reached|queue[- ]only') }},
            false
        ),
        false
    ) as is_attempt,
    -- until the Message-ID is known: int_exim__message_facts
    coalesce(message_id, exim_id) as message_id,
    cast(null as integer) as attempt_number,
    recipient,
    {{ normal_address('coalesce(sender, envelope_sender)') }} as envelope_sender,
    cast(null as varchar) as from_domain,
    case
        when line_kind = 'recipient' then coalesce(
            sending_ip,
            -- no line names its host: the folder that the file lies in does
            {{ sending_ip_by_host(
                source_setting('exim', 'sending_ips', {}), regex_group('source_file', '([^/]+)/[^/]+$'), "''"
            ) }}
        )
    end as sending_ip,
    cast(null as varchar) as campaign_id,
    lower(rtrim(coalesce(nullif(refusal.mx_host, ''), nullif(host.mx_host, '')), '.')) as mx_host,
    coalesce(nullif(refusal.mx_ip, ''), nullif(host.mx_ip, '')) as mx_ip,
    case when is_remote then {{ reply_code('reply') }} end as smtp_code,
    case when is_remote then {{ reply_enhanced_code('reply') }} end as enhanced_code,
    reply as response_text,
    case
        when is_remote then 'remote'
        when event_type = 'injected' or (event_type = 'delivered' and host.mx_ip <> '') then 'unknown'
        else 'local'
    end as response_origin,
    cast(null as varchar) as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    recipient_number,
    landed_at
from typed
