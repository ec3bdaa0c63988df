-- Postmark's webhook bodies and bounces as delivery events.
-- Format: https://postmarkapp.com/developer/webhooks/bounce-webhook; types: https://postmarkapp.com/developer/api/bounce-api

with records as (
    select
        *,
        {{ normal_address('coalesce("Email", "Recipient")') }} as recipient_address,
        coalesce(
            {{ timestamp_from_iso('coalesce("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt")') }},
            {{ timestamp_from_epoch('coalesce("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt")') }}
        ) as event_at,
        -- a bounce says what it is in `Type`, and so does a complaint, which came as a bounce once
        case when "RecordType" = 'Bounce' then "Type" else "RecordType" end as kind,
        coalesce(starts_with("Details", 'smtp;'), false) as is_marked_remote,
        nullif(trim(regexp_replace("Details", '^\s*smtp\s*;\s*', '')), '') as reply
    from {{ source('landing', 'postmark') }}
),

coded as (
    select
        *,
        {{ reply_code('reply') }} as reply_code,
        {{ reply_enhanced_code('reply') }} as reply_enhanced_code
    from records
),

typed as (
    select
        *,
        case
            when recipient_address is null then null
            when kind = 'Delivery' then 'delivered'
            when kind in ('HardBounce', 'SoftBounce', 'Blocked', 'DMARCPolicy', 'VirusNotification')
                then case when reply_enhanced_code in ('4.4.7', '5.4.7') then 'expired' else 'bounced' end
            when kind in ('Transient', 'DnsError') then 'deferred'
            -- Postmark did not try: it knew the address from its own list, or could not make the message
            when kind in ('BadEmailAddress', 'ManuallyDeactivated', 'SMTPApiError', 'TemplateRenderingFailed', 'InboundError')
                then 'dropped'
            when kind in ('SpamComplaint', 'SpamNotification') then 'complaint'
        end as event_type
    from coded
)

select
    'postmark' as source_name,
    {{ digest([
        "'postmark'", '"MessageID"', "case when \"MessageID\" is null then concat_ws(' ', recipient_address, event_at) end",
    ]) }} as message_group_id,
    -- a bounce has an id; a delivery is known by its message, recipient and time
    {{ digest(["'postmark'", 'kind', '"ID"', '"MessageID"', 'recipient_address', 'event_at']) }} as event_id,
    "ID" as native_event_id,
    concat_ws('/', "RecordType", case when "RecordType" = 'Bounce' then "Type" end) as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    "MessageID" as message_id,
    cast(null as integer) as attempt_number,
    recipient_address as recipient,
    cast(null as varchar) as envelope_sender,
    {{ header_domain(first_field(source_setting('postmark', 'from_domain', ['From']))) }} as from_domain,
    cast(null as varchar) as sending_ip,
    {{ first_field(source_setting(
        'postmark', 'campaign', ['Metadata.campaign', 'Metadata.campaign_id', 'Tag']
    )) }} as campaign_id,
    cast(null as varchar) as mx_host,
    cast(null as varchar) as mx_ip,
    case when event_type not in ('dropped', 'complaint') then reply_code end as smtp_code,
    case when event_type not in ('dropped', 'complaint') then reply_enhanced_code end as enhanced_code,
    -- `Description` is Postmark's own sentence about the type
    coalesce(reply, nullif("Description", '')) as response_text,
    case
        when event_type = 'dropped' then 'vendor'
        when event_type = 'complaint' then 'unknown'
        when reply_code is not null or is_marked_remote then 'remote'
        when coalesce(reply, nullif("Description", '')) is not null then 'vendor'
        else 'unknown'
    end as response_origin,
    "Type" as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from typed
