-- Every record of all sources as staging reads it, one row per recipient, in the files that it stands in: the one table
-- that is written from the logs, and grows by the batch. `event_type` is null where the record is of a kind that is no
-- delivery event, or where no time could be read: landing refuses such, and what it let through in a form that staging
-- does not know is counted as ignored, under a name that says so, and stops no publication. The events of a message lie beside
-- each other, here and in the facts that are made of this: what they share is stored once.

{{ config(
    materialized='incremental',
    batch_key='file_digest',
    order_by='event_date, message_group_id',
) }}

{%- set sources = [
    'kumomta', 'powermta', 'postfix', 'exim', 'ses', 'sendgrid', 'mailgun', 'sparkpost', 'postmark', 'dsn', 'events',
] %}
{#- what is no event is only counted: by its kind and file #}
{%- set of_events = [
    'message_group_id', 'event_id', 'native_event_id', 'event_at', 'is_attempt', 'message_id', 'attempt_number', 'recipient',
    'envelope_sender', 'from_domain', 'sending_ip', 'campaign_id', 'mx_host', 'mx_ip', 'smtp_code', 'enhanced_code',
    'response_text', 'response_origin', 'native_class',
] %}

with staged as (
    {% for source_name in sources %}
    select * from {{ ref('stg_' ~ source_name ~ '__events') }}
    {% if not loop.last %}union all by name{% endif %}
    {%- endfor %}
),

typed as (
    select
        * replace (
            case when event_at is not null then event_type end as event_type,
            case
                when event_type is not null and event_at is null
                    then concat(native_event_type, ' (no time that can be read)')
                else native_event_type
            end as native_event_type,
            -- what is said on taking a message names the server's own queue: different every time, it would be the largest
            -- part of what is stored. Landing has it.
            case when event_type not in ('injected', 'delivered') then response_text end as response_text
        )
    from staged
)

select
    source_name,
    native_event_type,
    event_type,
    cast(case when event_type is not null then event_at end as date) as event_date,
    {%- for column in of_events %}
    case when event_type is not null then {{ column }} end as {{ column }},
    {%- endfor %}
    -- of what is logged; where a queue id has several lives, or a message's id stands in another line, it is another
    case
        when event_type is not null then {{ message_recipient_id('0') }}
    end as message_recipient_id,
    source_file,
    file_digest,
    record_number,
    record_part,
    recipient_number,
    landed_at
from typed
