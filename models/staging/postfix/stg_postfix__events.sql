-- Postfix's recipient lines as delivery events; every other line is of a kind that is none. Sender, campaign, From
-- domain and Message-ID stand in other lines of the queue id, maybe in other files: they are joined in
-- int_delivery_events__completed.

with lines as (
    select * from {{ ref('stg_postfix__lines') }}
),

typed as (
    select
        *,
        case
            when line_kind <> 'recipient' or is_repeated or is_at_filter then null
            when status = 'sent' then 'delivered'
            when status in ('deferred', 'SOFTBOUNCE') then 'deferred'
            when status = 'bounced' then 'bounced'
        -- deliverable and undeliverable answer address probes (verify(8)): no message was sent
        end as event_type,
        {{ regex_groups(
            'text',
            '^(?:delivery temporarily suspended: )?host ([^\s\[]+)\[([^\]]+)\](?::\d+)? (?:said|refused to talk to me): (.*?)(?: \(in reply to .*\))?$',
            ['mx_host', 'mx_ip', 'reply']
        ) }} as refusal,
        {{ regex_groups('relay', '^([^\s\[]+)\[([^\]]+)\]', ['mx_host', 'mx_ip']) }} as relay_host
    from lines
),

answered as (
    select
        *,
        nullif(refusal.reply, '') is not null
        or (event_type = 'delivered' and {{ regex_matches('text', '^2[0-9][0-9][ -]') }}) as is_remote,
        coalesce(nullif(refusal.reply, ''), text) as reply
    from typed
)

select
    'postfix' as source_name,
    message_group_id,
    line_id as event_id,
    cast(null as varchar) as native_event_id,
    case
        when line_kind = 'recipient' and is_repeated then 'message repeated'
        when line_kind = 'recipient' and is_at_filter then status || ' (content filter)'
        when line_kind = 'recipient' then status
        when queue_id is null and not starts_with(tag, 'postfix') then 'not Postfix'
        when line_kind = 'other' then process
        else line_kind
    end as native_event_type,
    event_at,
    event_type,
    -- error(8) and retry(8) answer for a destination that was tried before
    coalesce(
        event_type is not null
        and process not in ('error', 'retry', 'discard')
        and not starts_with(text, 'delivery temporarily suspended'),
        false
    ) as is_attempt,
    -- until the Message-ID is known: int_delivery_events__completed
    host || '/' || queue_id as message_id,
    cast(null as integer) as attempt_number,
    {{ normal_address('recipient_text') }} as recipient,
    cast(null as varchar) as envelope_sender,
    cast(null as varchar) as from_domain,
    {{ sending_ip_by_host(source_setting('postfix', 'sending_ips', {}), 'host', 'tag') }} as sending_ip,
    cast(null as varchar) as campaign_id,
    lower(coalesce(nullif(refusal.mx_host, ''), nullif(relay_host.mx_host, ''))) as mx_host,
    coalesce(nullif(refusal.mx_ip, ''), nullif(relay_host.mx_ip, '')) as mx_ip,
    case when is_remote then {{ reply_code('reply') }} end as smtp_code,
    -- dsn= is Postfix's own wherever the remote gave none: good for its own words, an opinion on a remote's
    case when is_remote then {{ reply_enhanced_code('reply') }} else dsn end as enhanced_code,
    reply as response_text,
    case when is_remote then 'remote' else 'local' end as response_origin,
    dsn as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from answered
