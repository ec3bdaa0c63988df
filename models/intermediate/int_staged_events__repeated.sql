-- Events that stand in several records, and the record that counts. Redelivered webhooks, rotated copies and overlapping
-- files bring a record again: it has the same event_id and is the same event. None counts of an event that retention has
-- dropped: it is counted among what is retained, and a file that stays holds it too.

{{ config(
    materialized='incremental',
    unique_key='event_id',
) }}

{#- the event_id of other sources tells the time: copies have the same #}
{%- set untimed = "('dsn', 'events', 'sparkpost')" %}

with batch as {{ inlined_where_rebuilt() }} (
    select
        event_id,
        event_at,
        event_date,
        source_name,
        message_group_id
    from {{ ref('int_staged_events__collected') }}
    where event_type is not null and {{ in_batch() }}
),

retained as (
    select event_id from {{ source('landing', 'retained_event_keys') }}
),

copies as {{ inlined_where_rebuilt() }} (
    select
        event_id,
        event_at
    from batch
    {% if is_incremental() %}
    union all
    select
        event_id,
        event_at
    from {{ ref('int_staged_events__collected') }}
    where
        event_date in (select event_date from batch)
        and (event_id, event_at) in (select (event_id, event_at) from batch)
        and file_digest not in (select file_digest from {{ source('landing', 'loads') }})
    union all
    select
        event_id,
        event_at
    from {{ ref('int_staged_events__collected') }}
    where
        source_name in {{ untimed }}
        and event_id in (
            select event_id from batch
            where source_name in {{ untimed }}
        )
        and file_digest not in (select file_digest from {{ source('landing', 'loads') }})
    {% endif %}
),

repeated_ids as (
    select event_id from copies
    group by event_id
    having count(*) > 1
),

repeated as (
    select distinct
        event_id,
        event_at
    from copies
    where event_id in (select event_id from repeated_ids)
),

chosen as (
    select * from {{ ref('int_staged_events__collected') }}
    where
        event_date in (select cast(event_at as date) from repeated)
        and (event_id, event_at) in (select (event_id, event_at) from repeated)
        and event_id not in (select event_id from retained)
    -- the choice must not hang on the order of files, so it looks at what the copies say first, then at where they stand
    qualify row_number() over (
        partition by event_id
        order by
            event_at, event_type, recipient, message_id, attempt_number,
            from_domain, campaign_id, sending_ip, envelope_sender, mx_host, mx_ip,
            smtp_code, enhanced_code, response_text, native_event_type, native_class, native_event_id,
            file_digest, record_number, record_part, recipient_number
    ) = 1
)

select
    event_id,
    message_group_id,
    file_digest,
    record_number,
    record_part,
    recipient_number
from chosen
union all
select distinct
    event_id,
    message_group_id,
    cast(null as varchar) as file_digest,
    cast(null as bigint) as record_number,
    cast(null as integer) as record_part,
    cast(null as bigint) as recipient_number
from batch
where event_id in (select event_id from retained)
