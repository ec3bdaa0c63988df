-- Mailgun's events, from webhooks or its Events API, as delivery events.
-- Format: https://documentation.mailgun.com/docs/mailgun/user-manual/events/events

with records as (
    select
        *,
        {{ json_text('message', '$.headers') }} as headers,
        coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
        try_cast({{ json_text('"delivery-status"', '$.code') }} as integer) as status_code,
        -- the reply's words, without its code; some say it in the other field
        coalesce(
            nullif(trim({{ json_text('"delivery-status"', '$.message') }}), ''),
            nullif(trim({{ json_text('"delivery-status"', '$.description') }}), ''),
            nullif(trim({{ json_text('reject', '$.reason') }}), '')
        ) as words
    from {{ source('landing', 'mailgun') }}
),

told as (
    select
        *,
        {{ json_text('headers', '$."message-id"') }} as message_id,
        -- codes that Mailgun made up: 498 no MX, 602 too old, 605 to 607 on one of its suppression lists
        coalesce(status_code in (498, 499) or status_code >= 600, false) as is_local,
        nullif(trim(regexp_replace(words, '^\s*smtp\s*;\s*', '')), '') as reply_words,
        -- a message refused before it was taken names only the recipients of its header
        case
            when nullif(recipient, '') is not null then [recipient]
            else regexp_extract_all({{ json_text('headers', '$.to') }}, '[^\s<>,;:"]+@[^\s<>,;"]+')
        end as recipients
    from records
),

fanned_out as (
    select
        *,
        -- a record that names nobody stays one row, so that it is counted
        unnest(case when len(recipients) > 0 then recipients else [null] end) as recipient_text,
        generate_subscripts(case when len(recipients) > 0 then recipients else [null] end, 1) as recipient_number,
        {{ normal_address('recipient_text') }} as recipient_address,
        case
            when is_local or status_code is null or {{ regex_matches('reply_words', '^[2-5]\d\d[ \-]') }} then reply_words
            else concat_ws(' ', status_code, reply_words)
        end as reply
    from told
),

coded as (
    select
        *,
        case when not is_local then {{ reply_code('reply') }} end as reply_code,
        coalesce(
            {{ reply_enhanced_code('reply') }},
            {{ regex_group(json_text('"delivery-status"', '$."enhanced-code"'), '^([245]\.\d{1,3}\.\d{1,3})$') }},
            {{ regex_group(json_text('"delivery-status"', '$."bounce-code"'), '^([245]\.\d{1,3}\.\d{1,3})$') }}
        ) as enhanced_status,
        case
            when {{ json_text('flags', '$."is-test-mode"') }} = 'true' then 'test mode'
            -- mail that came in and goes on to somebody else
            when event = 'accepted' and {{ json_text('flags', '$."is-routed"') }} = 'true' then 'routed'
            when recipient_address is null then 'no recipient'
        end as passed_over
    from fanned_out
),

typed as (
    select
        *,
        case
            when passed_over is not null then null
            when event = 'accepted' then 'injected'
            when event = 'delivered' then 'delivered'
            when event = 'rejected' then 'dropped'
            when event = 'complained' then 'complaint'
            when event = 'failed' and (starts_with(reason, 'suppress-') or status_code between 605 and 607) then 'dropped'
            when event = 'failed' and {{ json_text('flags', '$."is-delayed-bounce"') }} = 'true' then 'out_of_band_bounce'
            -- the last try of a message without an MX is called temporary, and old all the same
            when event = 'failed' and (reason = 'old' or status_code = 602 or enhanced_status in ('4.4.7', '5.4.7'))
                then 'expired'
            when event = 'failed' and severity = 'temporary' then 'deferred'
            when event = 'failed' then 'bounced'
        end as event_type
    from coded
)

select
    'mailgun' as source_name,
    {{ digest([
        "'mailgun'", 'message_id', "case when message_id is null then concat_ws(' ', recipient_address, event_at) end",
    ]) }} as message_group_id,
    -- an id is unique within a day only; the envelope of a webhook changes with each delivery
    {{ digest(["'mailgun'", 'id', 'event_at', 'event', 'severity', 'recipient_address', 'message_id']) }} as event_id,
    id as native_event_id,
    concat_ws('/', event, severity) || coalesce(' (' || passed_over || ')', '') as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    message_id,
    case
        when event_type in ('delivered', 'deferred', 'bounced')
            then try_cast({{ json_text('"delivery-status"', '$."attempt-no"') }} as integer)
    end as attempt_number,
    recipient_address as recipient,
    {{ normal_address(json_text('envelope', '$.sender')) }} as envelope_sender,
    {{ header_domain(first_field(source_setting('mailgun', 'from_domain', ['headers.from']))) }} as from_domain,
    {{ json_text('envelope', '$."sending-ip"') }} as sending_ip,
    {{ first_field(source_setting(
        'mailgun', 'campaign', ['user-variables.campaign', 'user-variables.campaign_id', 'tags', 'campaigns']
    )) }} as campaign_id,
    case
        when event_type in ('delivered', 'deferred', 'bounced')
            then lower(rtrim({{ json_text('"delivery-status"', '$."mx-host"') }}, '.'))
    end as mx_host,
    cast(null as varchar) as mx_ip,
    case when event_type <> 'dropped' then reply_code end as smtp_code,
    case when event_type <> 'dropped' then enhanced_status end as enhanced_code,
    reply as response_text,
    case
        when event_type = 'dropped' then 'vendor'
        when event_type in ('injected', 'complaint') or reply is null then 'unknown'
        when is_local then 'local'
        else 'remote'
    end as response_origin,
    nullif(concat_ws('/', severity, reason), '') as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    recipient_number,
    landed_at
from typed
