-- Delivery reports (RFC 3464), complaints (RFC 5965) and reports in prose as delivery events. What they say was found when
-- they were read (flows/landing/dsn.py); here it is judged.

with records as (
    select
        *,
        {{ regex_group('diagnostic_code', '^\s*([A-Za-z][\w-]*)\s*;') }} as diagnostic_type,
        nullif(trim(regexp_replace(diagnostic_code, '^\s*[A-Za-z][\w-]*\s*;\s*', '')), '') as diagnostic,
        {{ regex_group('status', '^\s*([245]\.\d{1,3}\.\d{1,3})') }} as status_number,
        -- RFC 3464, 2.3.4 lets a comment stand behind the code
        {{ regex_group('status', '\((.*[^\s)].*)\)\s*$') }} as status_comment,
        regexp_replace(coalesce(remote_mta, text_mta), '^\s*[A-Za-z][\w-]*\s*;\s*', '') as mta,
        {{ normal_address('recipient') }} as recipient_address,
        -- a header field of the returned message may be named in `sources.yml` as `headers.NAME`
        {{ json_objects('original_headers', '$') }} as header_list,
        list_filter(
            {{ json_objects('report_fields', '$') }}, lambda item: {{ json_text('item', '$.name') }} = 'x-postfix-sender'
        )[1] ->> '$.value' as postfix_sender,
        list_filter(
            {{ json_objects('recipient_fields', '$') }},
            lambda item: {{ json_text('item', '$.name') }} = 'x-powermta-bouncecategory'
        )[1] ->> '$.value' as powermta_category
    from {{ source('landing', 'dsn') }}
),

typed as (
    select
        *,
        case
            when recipient_address is null then null
            when kind = 'complaint' then 'complaint'
            when action = 'failed' then 'out_of_band_bounce'
            when action = 'delayed' then 'deferred'
            when action in ('delivered', 'relayed', 'expanded') then 'delivered'
        -- automatic answers, and mail that strayed into the mailbox
        end as event_type,
        coalesce(diagnostic, text_reply, status_comment) as reply,
        case
            when kind in ('complaint', 'auto_reply', 'other') and action is null then 'unknown'
            when lower(coalesce(diagnostic_type, 'smtp')) = 'smtp' and diagnostic is not null then 'remote'
            -- `x-unix`, `X-Postfix` and the like mark the words of the host that reports
            when diagnostic is not null then 'local'
            when text_reply is not null then coalesce(text_origin, 'unknown')
            when status_comment is not null then 'local'
            else 'unknown'
        end as response_origin,
        {{ regex_group('original_message_id', '^\s*<?\s*([^<>\s]+)') }} as original_id,
        {{ regex_group('in_reply_to', '^\s*<?\s*([^<>\s]+)') }} as answered_id,
        {{ regex_group('report_to', '([^\s<>,;:"]+@[^\s<>,;:"]+)') }} as report_address,
        {{ timestamp_from_iso('event_at') }} as happened_at,
        {{ first_field(source_setting('dsn', 'campaign', ['original_campaign']), 'header_list') }} as campaign,
        {{ first_field(source_setting('dsn', 'from_domain', ['original_from']), 'header_list') }} as from_text
    from records
),

coded as (
    select
        *,
        case when response_origin = 'remote' then {{ reply_code('reply') }} end as reply_number,
        coalesce({{ reply_enhanced_code('reply') }}, text_status) as reply_status,
        -- Exchange and others name the message that a report answers there
        coalesce(original_id, case when kind in ('bounce', 'delay') then answered_id end, original_envelope_id) as message_id
    from typed
)

select
    'dsn' as source_name,
    {{ digest(["'dsn'", 'coalesce(message_id, message_digest)']) }} as message_group_id,
    -- copies of one report in several mailboxes are one event; what a reader of prose finds in it may get better
    {{ digest(["'dsn'", 'message_digest', 'kind', 'recipient_address', 'recipient_fields']) }} as event_id,
    {{ regex_group('report_message_id', '^\s*<?\s*([^<>\s]+)') }} as native_event_id,
    coalesce(
        case
            when kind = 'complaint' or feedback_type is not null then coalesce(feedback_type, kind)
            else coalesce(action, kind)
        end,
        'unknown'
    ) || case when recipient_address is null and kind in ('bounce', 'delay', 'complaint') then ' (no recipient)' else '' end
        as native_event_type,
    happened_at as event_at,
    event_type,
    -- a report speaks of attempts that another host made
    false as is_attempt,
    message_id,
    cast(null as integer) as attempt_number,
    recipient_address as recipient,
    -- reports of failure are sent to the envelope sender (RFC 3464, 2); copies for the postmaster are not
    coalesce(
        {{ normal_address("regexp_replace(original_return_path, '^<>$', '')") }},
        {{ normal_address("regexp_replace(postfix_sender, '^[^;]*;', '')") }},
        case
            when kind in ('bounce', 'delay') and not regexp_matches(report_address, '^(?i:postmaster)@')
                then {{ normal_address('report_address') }}
        end
    ) as envelope_sender,
    {{ header_domain('from_text') }} as from_domain,
    cast(null as varchar) as sending_ip,
    campaign as campaign_id,
    case
        when event_type in ('out_of_band_bounce', 'deferred')
            then lower({{ regex_group('mta', '^\[?([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.[A-Za-z][A-Za-z0-9-]*)') }})
    end as mx_host,
    case
        when event_type in ('out_of_band_bounce', 'deferred')
            then {{ regex_group(
                'mta', '(?:^|[\[( ])((?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{2,40})(?:$|[\]) ])'
            ) }}
    end as mx_ip,
    reply_number as smtp_code,
    -- the Status is the reporting host's: where it contradicts the remote's reply it says nothing
    coalesce(
        reply_status,
        case when reply_number is null or left(status_number, 1) = left(cast(reply_number as varchar), 1) then status_number end
    ) as enhanced_code,
    reply as response_text,
    response_origin,
    coalesce(feedback_type, powermta_category, status_number) as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from coded
