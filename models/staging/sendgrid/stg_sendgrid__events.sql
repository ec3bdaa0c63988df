-- SendGrid's webhook events as delivery events.
-- Format: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event

with records as (
    select
        *,
        {{ normal_address('email') }} as recipient_address,
        coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
        nullif(sg_message_id, '') as sendgrid_id,
        nullif(trim(coalesce(nullif(response, ''), reason)), '') as reply
    from {{ source('landing', 'sendgrid') }}
),

coded as (
    select
        *,
        coalesce(
            {{ reply_code('reply') }},
            -- `status` is meant for the enhanced code and sometimes holds the other
            try_cast({{ regex_group('status', '^([2-5]\d\d)$') }} as smallint)
        ) as reply_code,
        coalesce(
            {{ reply_enhanced_code('reply') }}, {{ regex_group('status', '^([245]\.\d{1,3}\.\d{1,3})$') }}
        ) as enhanced_status,
        -- what the sending API answered, before the names of the hosts that the message went through; a message that was
        -- dropped has hosts only
        coalesce(
            {{ regex_group('sendgrid_id', '^(.+?)\.(?:filter|recvd)') }},
            case when not starts_with(sendgrid_id, 'filter') then {{ regex_group('sendgrid_id', '^([^.]+)') }} end,
            -- SendGrid makes its Message-ID of the same id; the sender's own Message-ID stays whole
            {{ regex_group('"smtp-id"', '^<?([^@<>]+)@[^@<>]*ismtpd') }},
            {{ regex_group('"smtp-id"', '^<?([^<>]+)>?$') }}
        ) as message_id
    from records
),

typed as (
    select
        *,
        case
            when recipient_address is null then null
            when event = 'processed' then 'injected'
            when event = 'delivered' then 'delivered'
            when event = 'deferred' then 'deferred'
            when event = 'bounce' and (type = 'expired' or enhanced_status in ('4.4.7', '5.4.7')) then 'expired'
            -- a report that came back by mail, hours later, and belongs to no connection
            when event = 'bounce' and nullif(ip, '') is null and sendgrid_id is null then 'out_of_band_bounce'
            when event = 'bounce' then 'bounced'
            when event = 'dropped' then 'dropped'
            when event = 'spamreport' then 'complaint'
        end as event_type
    from coded
)

select
    'sendgrid' as source_name,
    {{ digest([
        "'sendgrid'", 'message_id', "case when message_id is null then concat_ws(' ', recipient_address, event_at) end",
    ]) }} as message_group_id,
    -- the same event comes again under the same or another `sg_event_id`, so that its contents are its identity
    {{ digest([
        "'sendgrid'", 'event', 'recipient_address', 'event_at', 'sg_message_id', '"smtp-id"', 'type', 'attempt', 'status', 'reply',
    ]) }} as event_id,
    sg_event_id as native_event_id,
    concat_ws('/', event, case when event = 'bounce' then type end) as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    message_id,
    case when event_type in ('delivered', 'deferred', 'bounced') then try_cast(attempt as integer) end as attempt_number,
    recipient_address as recipient,
    cast(null as varchar) as envelope_sender,
    {{ header_domain(first_field(source_setting(
        'sendgrid', 'from_domain', ['record.from_domain', 'record.from']
    ))) }} as from_domain,
    -- on opens and clicks it is the reader's
    case when event_type in ('delivered', 'deferred', 'bounced') then nullif(ip, '') end as sending_ip,
    {{ first_field(source_setting(
        'sendgrid',
        'campaign',
        ['marketing_campaign_id', 'record.singlesend_id', 'record.campaign', 'record.campaign_id', 'category']
    )) }} as campaign_id,
    cast(null as varchar) as mx_host,
    cast(null as varchar) as mx_ip,
    case when event_type <> 'dropped' then reply_code end as smtp_code,
    -- 5.0.0 on a message that nobody was asked to take
    case when event_type <> 'dropped' then enhanced_status end as enhanced_code,
    reply as response_text,
    case
        when event_type = 'dropped' then 'vendor'
        when event_type in ('injected', 'complaint') or reply is null then 'unknown'
        when reply_code is not null then 'remote'
        when nullif(ip, '') is not null and event_type <> 'expired' then 'remote'
        else 'vendor'
    end as response_origin,
    nullif(concat_ws('/', type, bounce_classification), '') as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from typed
