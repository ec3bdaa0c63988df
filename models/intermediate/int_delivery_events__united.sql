-- Delivery events of all sources as logged, each once. Redelivered webhooks, rotated copies and overlapping files bring
-- a record again: it has the same event_id and is the same row.

{{ config(
    materialized='incremental',
    unique_key='event_id',
) }}

with staged as (
    select * from {{ ref('int_staged_events__unioned') }}
    where
        event_type is not null
        -- counted among what is retained of events that have gone: a file that stays holds them too
        and event_id not in (select event_id from {{ source('landing', 'retained_event_keys') }})
),

{% if is_incremental() %}
known as (
    select * from {{ this }}
    where event_id in (select event_id from staged)
),
{% endif %}

candidates as (
    select * from staged
    {% if is_incremental() %}
    union all by name
    select * from known
    {% endif %}
),

-- few come twice: only those are put in order
repeated as (
    select event_id from candidates
    group by event_id
    having count(*) > 1
)

select * from candidates
where event_id not in (select event_id from repeated)
union all
select * from candidates
where event_id in (select event_id from repeated)
-- the choice must not hang on the order of files, so it looks at what the copies say first, then at where they stand
qualify row_number() over (
    partition by event_id
    order by
        event_at, event_type, recipient, message_id, attempt_number,
        from_domain, campaign_id, sending_ip, envelope_sender, mx_host, mx_ip,
        smtp_code, enhanced_code, response_text, native_event_type, native_class, native_event_id,
        file_digest, record_number, record_part, recipient_number
) = 1
