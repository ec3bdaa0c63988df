-- KumoMTA log records as delivery events.
-- Format: https://docs.kumomta.com/reference/log_record/ and crates/kumo-log-types in its source.

{#- `recipient` is a text, or an array of texts since 2025.12.02: recipients that got the same reply share a record #}
{%- set has_list = "coalesce(type = 'Feedback' or recipient like '[%', false)" %}

with with_recipients as (
    select
        *,
        case
            -- a complaint is addressed to the feedback loop; whoever complained stands in the report
            when type = 'Feedback' then coalesce({{ json_texts('feedback_report', '$.original_rcpt_to') }}, [null])
            else coalesce({{ json_texts('recipient', '$') }}, [recipient])
        end as recipients
    from {{ source('landing', 'kumomta') }}
    where {{ has_list }}
),

-- nearly all records name one recipient: they are spared the lists
fanned_out as (
    select
        *,
        recipient as recipient_text,
        1 as recipient_number
    from {{ source('landing', 'kumomta') }}
    where not {{ has_list }}
    union all by name
    select
        * exclude (recipients),
        -- a record that names nobody stays one row, so that it is counted
        unnest(case when len(recipients) > 0 then recipients else [null] end) as recipient_text,
        generate_subscripts(case when len(recipients) > 0 then recipients else [null] end, 1) as recipient_number
    from with_recipients
),

read_replies as (
    select
        *,
        {{ normal_address('recipient_text') }} as recipient_address,
        {{ json_text_list('response', [
            '$.content', '$.command', '$.code', '$.enhanced_code.class', '$.enhanced_code.subject', '$.enhanced_code.detail',
        ]) }} as reply,
        {{ json_text_list('peer_address', ['$.name', '$.addr']) }} as peer
    from fanned_out
),

replied as (
    select
        * exclude (reply),
        reply[1] as content,
        reply[2] as command,
        reply[3] as code,
        reply[4:6] as enhanced_parts,
        -- words of its own: marked as such, or said without having given a command
        coalesce(
            starts_with(content, 'KumoMTA internal:')
            or (type in ('TransientFailure', 'Bounce') and command is null),
            false
        ) as is_internal
    from read_replies
),

typed as (
    select
        *,
        coalesce({{ timestamp_from_iso('event_time') }}, {{ timestamp_from_epoch('timestamp') }}) as event_at,
        case
            -- a copy made for a log hook, not an event of its own
            when reception_protocol = 'LogRecord' then null
            when recipient_address is null then null
            when type = 'Reception' then 'injected'
            when type = 'Delivery' then 'delivered'
            when type = 'TransientFailure' then 'deferred'
            when type = 'Bounce' then 'bounced'
            when type = 'Expiration' then 'expired'
            when type = 'AdminBounce' then 'dropped'
            when type = 'OOB' then 'out_of_band_bounce'
            when type = 'Feedback' then 'complaint'
        end as event_type,
        case when not is_internal then try_cast(code as integer) end as reply_code,
        case
            when enhanced_parts[1] is not null then array_to_string(enhanced_parts, '.')
        end as enhanced_status,
        -- a queue is named `campaign:tenant@domain`
        case when contains(queue, ':') then {{ regex_group('queue', '^([^:@]+):') }} end as queue_campaign
    from replied
)

select
    'kumomta' as source_name,
    {{ digest(["'kumomta'", 'nodeid', 'id']) }} as message_group_id,
    -- the node and id name the message; two rows of one attempt differ by the host tried and its reply
    {{ digest([
        "'kumomta'", 'nodeid', 'id', 'type', 'recipient_address', 'event_at', 'num_attempts', 'peer_address', 'response',
    ]) }} as event_id,
    cast(null as varchar) as native_event_id,
    case
        when reception_protocol = 'LogRecord' then 'LogRecord'
        when recipient_address is null then type || ' (no recipient)'
        else type
    end as native_event_type,
    event_at,
    event_type,
    coalesce(event_type in ('delivered', 'deferred', 'bounced'), false) as is_attempt,
    id as message_id,
    -- the outcome is logged before the counter moves on
    case
        when event_type in ('delivered', 'deferred', 'bounced') then try(try_cast(num_attempts as integer) + 1)
    end as attempt_number,
    recipient_address as recipient,
    {{ normal_address('sender') }} as envelope_sender,
    {{ header_domain(first_field(source_setting('kumomta', 'from_domain', ['headers.From']))) }} as from_domain,
    {{ regex_group(json_text('source_address', '$.address'), '^\[?([0-9A-Fa-f:.]+?)\]?(?::\d+)?$') }} as sending_ip,
    {{ first_field(source_setting(
        'kumomta', 'campaign', ['meta.campaign', 'headers.X-Campaign-ID', 'headers.X-Campaign', 'queue_campaign']
    )) }} as campaign_id,
    -- on Reception and Feedback the peer is whoever submitted the message
    case
        when event_type in ('delivered', 'deferred', 'bounced')
            then lower(rtrim(peer[1], '.'))
    end as mx_host,
    case
        when event_type in ('delivered', 'deferred', 'bounced') then peer[2]
    end as mx_ip,
    -- who gives up or drops speaks for himself, whatever code he logs
    case
        when reply_code between 200 and 599 and event_type not in ('expired', 'dropped') then cast(reply_code as smallint)
    end as smtp_code,
    enhanced_status as enhanced_code,
    case when is_internal then content else nullif(concat_ws(' ', reply_code, enhanced_status, content), '') end as response_text,
    case
        when event_type in ('injected', 'complaint') then 'unknown'
        when is_internal or event_type in ('expired', 'dropped') then 'local'
        when content is null then 'unknown'
        else 'remote'
    end as response_origin,
    nullif(bounce_classification, 'Uncategorized') as native_class,
    source_file,
    file_digest,
    record_number,
    record_part,
    recipient_number,
    landed_at
from typed
