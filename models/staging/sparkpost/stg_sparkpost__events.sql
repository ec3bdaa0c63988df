-- SparkPost's events, from webhooks or its Events API, as delivery events.
-- Format: https://developers.sparkpost.com/api/webhooks/
-- Bounce classes: https://www.sparkpost.com/docs/deliverability/bounce-classification-codes/

with records as (
    select
        *,
        {{ normal_address("coalesce(nullif(rcpt_to, ''), raw_rcpt_to)") }} as recipient_address,
        coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
        -- `reason` has its addresses masked
        nullif(trim(coalesce(nullif(raw_reason, ''), reason)), '') as told_reason
    from {{ source('landing', 'sparkpost') }}
),

replied as (
    select
        *,
        -- a message that could not be made has no id of its own
        coalesce(nullif(message_id, ''), transmission_id) as message_key,
        -- when time ran out, the last thing a remote said stands inside SparkPost's own words
        coalesce({{ regex_group('told_reason', '(?s)last transfail: (.*?)\)?\s*$') }}, told_reason) as reply,
        coalesce(
            bounce_class = '24' or {{ reply_enhanced_code('told_reason') }} in ('4.4.7', '5.4.7'), false
        ) as is_timed_out
    from records
),

coded as (
    select
        *,
        coalesce(contains(reply, '[internal]'), false) as is_internal,
        {{ reply_code('reply') }} as reply_code,
        {{ reply_enhanced_code('reply') }} as reply_enhanced_code,
        case
            when recipient_address is null then null
            when type = 'injection' then 'injected'
            when type = 'delivery' then 'delivered'
            when type = 'delay' then 'deferred'
            when type = 'bounce' and bounce_class = '25' then 'dropped'
            when type = 'bounce' and is_timed_out then 'expired'
            when type = 'bounce' then 'bounced'
            when type = 'out_of_band' then 'out_of_band_bounce'
            when type in ('policy_rejection', 'generation_failure', 'generation_rejection') then 'dropped'
            when type = 'spam_complaint' then 'complaint'
        end as event_type
    from replied
)

select
    'sparkpost' as source_name,
    {{ digest([
        "'sparkpost'", 'message_key', "case when message_key is null then concat_ws(' ', recipient_address, event_at) end",
    ]) }} as message_group_id,
    -- the same event comes by webhook and by API, with times of another precision; only without an id must they tell it
    {{ digest([
        "'sparkpost'", 'event_id', 'type', 'recipient_address', 'message_id',
        "case when event_id is null then concat_ws(' ', event_at, transmission_id, num_retries, told_reason) end",
    ]) }} as event_id,
    event_id as native_event_id,
    coalesce(type, 'ping') as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    message_key as message_id,
    -- 0 is the first attempt
    case
        when event_type in ('delivered', 'deferred', 'bounced') then try(try_cast(num_retries as integer) + 1)
    end as attempt_number,
    recipient_address as recipient,
    {{ normal_address('msg_from') }} as envelope_sender,
    {{ header_domain(first_field(source_setting('sparkpost', 'from_domain', ['friendly_from']))) }} as from_domain,
    nullif(sending_ip, '') as sending_ip,
    {{ first_field(source_setting(
        'sparkpost', 'campaign', ['campaign_id', 'rcpt_meta.campaign', 'rcpt_meta.campaign_id']
    )) }} as campaign_id,
    cast(null as varchar) as mx_host,
    case when event_type in ('delivered', 'deferred', 'bounced') then nullif(ip_address, '') end as mx_ip,
    case
        when is_internal or event_type = 'dropped' then null
        when reply_code is not null then reply_code
        -- when time ran out the code is SparkPost's
        when event_type <> 'expired' and error_code between '200' and '599' and length(error_code) = 3
            then try_cast(error_code as smallint)
    end as smtp_code,
    reply_enhanced_code as enhanced_code,
    reply as response_text,
    case
        when event_type = 'dropped' then 'vendor'
        when event_type in ('injected', 'complaint') or reply is null then 'unknown'
        when is_internal then 'local'
        else 'remote'
    end as response_origin,
    coalesce(bounce_class, fbtype) as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    1 as recipient_number,
    landed_at
from coded
