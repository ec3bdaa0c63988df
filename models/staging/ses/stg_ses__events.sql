-- Amazon SES records as delivery events: event publishing (Firehose, SNS) and identity notifications.
-- Format: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-firehose-contents.html and
-- https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html

with records as (
    select
        *,
        coalesce("eventType", "notificationType", 'SNS ' || "Type", 'no event') as kind,
        {{ json_text('mail', '$.messageId') }} as message_id
    from {{ source('landing', 'ses') }}
),

-- one list of {address, status, diagnostic} whatever the kind calls its recipients
with_recipients as (
    select
        *,
        case kind
            when 'Bounce'
                then {{ ses_recipients(
                    json_objects('bounce', '$.bouncedRecipients'),
                    json_text('item', '$.emailAddress'), json_text('item', '$.status'), json_text('item', '$.diagnosticCode')
                ) }}
            when 'DeliveryDelay'
                then {{ ses_recipients(
                    json_objects('"deliveryDelay"', '$.delayedRecipients'),
                    json_text('item', '$.emailAddress'), json_text('item', '$.status'), json_text('item', '$.diagnosticCode')
                ) }}
            when 'Complaint'
                then {{ ses_recipients(
                    json_objects('complaint', '$.complainedRecipients'), json_text('item', '$.emailAddress')
                ) }}
            when 'Delivery'
                then {{ ses_recipients(
                    json_texts('delivery', '$.recipients'), 'item', diagnostic=json_text('delivery', '$.smtpResponse')
                ) }}
            -- Send, Reject and Rendering Failure speak of the message, so of all it was addressed to
            else {{ ses_recipients(
                json_texts('mail', '$.destination'), 'item',
                diagnostic='coalesce(' ~ json_text('reject', '$.reason') ~ ', ' ~ json_text('failure', '$.errorMessage') ~ ')'
            ) }}
        end as recipients
    from records
),

fanned_out as (
    select
        *,
        -- a record that names nobody stays one row, so that it is counted
        unnest(case when len(recipients) > 0 then recipients else [null] end) as recipient_entry,
        generate_subscripts(case when len(recipients) > 0 then recipients else [null] end, 1) as recipient_number
    from with_recipients
),

typed as (
    select
        *,
        {{ normal_address('recipient_entry.address') }} as recipient_address,
        {{ json_text('bounce', '$.bounceSubType') }} as bounce_sub_type,
        nullif(concat_ws('/', {{ json_text('bounce', '$.bounceType') }}, {{ json_text('bounce', '$.bounceSubType') }}), '')
            as native_bounce,
        {{ json_text('complaint', '$.complaintSubType') }} as complaint_sub_type,
        nullif(trim(regexp_replace(recipient_entry.diagnostic, '^\s*smtp\s*;\s*', '', 'i')), '') as reply,
        {{ regex_group('recipient_entry.status', '^([245]\.\d{1,3}\.\d{1,3})') }} as status,
        {{ timestamp_from_iso(
            "coalesce("
            ~ json_text('bounce', '$.timestamp') ~ ", "
            ~ json_text('delivery', '$.timestamp') ~ ", "
            ~ json_text('"deliveryDelay"', '$.timestamp') ~ ", "
            ~ json_text('complaint', '$.timestamp') ~ ", "
            ~ json_text('mail', '$.timestamp') ~ ")"
        ) }} as event_at,
        -- what `sources.yml` may name besides headers
        {{ json_text('mail', '$.tags') }} as tags,
        {{ json_text('mail', '$.commonHeaders') }} as "commonHeaders",
        {{ json_objects('mail', '$.headers') }} as header_list
    from fanned_out
),

judged as (
    select
        *,
        case
            when recipient_address is null then null
            when kind = 'Send' then 'injected'
            when kind = 'Delivery' then 'delivered'
            when kind = 'DeliveryDelay' then 'deferred'
            when kind in ('Reject', 'Rendering Failure') then 'dropped'
            when kind = 'Complaint' and complaint_sub_type = 'OnAccountSuppressionList' then 'dropped'
            when kind = 'Complaint' then 'complaint'
            -- no SMTP happened: SES knew the address from its own list
            when kind = 'Bounce' and bounce_sub_type in ('Suppressed', 'OnAccountSuppressionList') then 'dropped'
            -- automatic answers come through the same channel (SES developer guide, "bounce object")
            when kind = 'Bounce' and native_bounce = 'Transient/General' and status is null and reply is null then null
            when kind = 'Bounce' and coalesce({{ reply_enhanced_code('reply') }}, status) in ('4.4.7', '5.4.7')
                then 'expired'
            when kind = 'Bounce' then 'bounced'
        end as event_type,
        {{ first_field(source_setting('ses', 'campaign', ['tags.campaign', 'tags.campaign_id']), 'header_list') }} as campaign,
        {{ first_field(
            source_setting('ses', 'from_domain', ['tags.ses:from-domain', 'commonHeaders.from']), 'header_list'
        ) }} as from_text
    from typed
)

select
    'ses' as source_name,
    {{ digest(["'ses'", 'message_id']) }} as message_group_id,
    -- SNS delivers at least once, each time in an envelope of its own
    {{ digest([
        "'ses'", 'message_id', 'kind', 'recipient_address', 'event_at',
        "coalesce(" ~ json_text('bounce', '$.feedbackId') ~ ", " ~ json_text('complaint', '$.feedbackId') ~ ")",
    ]) }} as event_id,
    coalesce({{ json_text('bounce', '$.feedbackId') }}, {{ json_text('complaint', '$.feedbackId') }}) as native_event_id,
    case
        when kind = 'Bounce' and event_type is null and recipient_address is not null then 'Bounce (automatic answer)'
        when recipient_address is null and kind in ('Send', 'Delivery', 'DeliveryDelay', 'Bounce', 'Complaint')
            then kind || ' (no recipient)'
        else kind
    end as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    message_id,
    cast(null as integer) as attempt_number,
    recipient_address as recipient,
    {{ normal_address(json_text('mail', '$.source')) }} as envelope_sender,
    {{ header_domain('from_text') }} as from_domain,
    {{ json_text('mail', '$.tags."ses:outgoing-ip"[0]') }} as sending_ip,
    campaign as campaign_id,
    cast(null as varchar) as mx_host,
    coalesce({{ json_text('bounce', '$.remoteMtaIp') }}, {{ json_text('delivery', '$.remoteMtaIp') }}) as mx_ip,
    case when event_type <> 'dropped' then {{ reply_code('reply') }} end as smtp_code,
    coalesce({{ reply_enhanced_code('reply') }}, status) as enhanced_code,
    reply as response_text,
    case
        when event_type in ('dropped', 'expired') then 'vendor'
        when event_type = 'injected' or reply is null then 'unknown'
        when event_type = 'complaint' then 'unknown'
        -- SES passes a remote's words on with their code
        when {{ reply_code('reply') }} is not null then 'remote'
        else 'vendor'
    end as response_origin,
    coalesce(
        native_bounce,
        complaint_sub_type,
        {{ json_text('complaint', '$.complaintFeedbackType') }}
    ) as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    recipient_number,
    landed_at
from judged
