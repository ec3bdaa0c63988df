-- Canonical events as written by the sender's own tools: only types are to be put right.

with records as (
    select
        *,
        coalesce({{ timestamp_from_iso('event_at') }}, {{ timestamp_from_epoch('event_at') }}) as event_time,
        {{ normal_address('recipient') }} as recipient_address
    from {{ source('landing', 'events') }}
),

identified as (
    select
        *,
        -- the sender's own id where there is one, else all that the record says
        case
            when native_event_id is not null then {{ digest(["'events'", 'native_event_id', 'recipient_address']) }}
            else {{ digest([
                "'events'", 'event_type', 'event_time', 'recipient_address', 'message_id', 'attempt_number', 'mx_host', 'mx_ip',
                'smtp_code', 'enhanced_code', 'response_text',
            ]) }}
        end as event_digest
    from records
)

select
    'events' as source_name,
    {{ digest(["'events'", "coalesce(message_id, cast(event_digest as varchar))"]) }} as message_group_id,
    event_digest as event_id,
    native_event_id,
    coalesce(native_event_type, event_type) as native_event_type,
    event_time as event_at,
    event_type,
    coalesce(try_cast(is_attempt as boolean), event_type in ('delivered', 'deferred', 'bounced')) as is_attempt,
    message_id,
    try_cast(attempt_number as integer) as attempt_number,
    recipient_address as recipient,
    {{ normal_address('envelope_sender') }} as envelope_sender,
    lower(trim(from_domain)) as from_domain,
    trim(sending_ip) as sending_ip,
    campaign_id,
    lower(rtrim(mx_host, '.')) as mx_host,
    mx_ip,
    coalesce(try_cast(smtp_code as smallint), {{ reply_code('response_text') }}) as smtp_code,
    coalesce({{ regex_group('enhanced_code', '^([245]\.\d{1,3}\.\d{1,3})') }}, {{ reply_enhanced_code('response_text') }})
        as enhanced_code,
    case
        -- one reply has one text, whether its codes came apart from it or in front
        when {{ reply_code('response_text') }} is not null or smtp_code is null then response_text
        when {{ reply_enhanced_code('response_text') }} is not null then concat_ws(' ', smtp_code, response_text)
        else concat_ws(' ', smtp_code, {{ regex_group('enhanced_code', '^([245]\.\d{1,3}\.\d{1,3})') }}, response_text)
    end as response_text,
    coalesce(response_origin, 'unknown') as response_origin,
    native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from identified
