-- What each landed file held. A file is in exactly one finished build, so its row is written once.

{{ config(
    materialized='incremental',
    unique_key='file_digest',
) }}

with loads as (
    select * from {{ source('landing', 'loads') }}
),

staged as (
    select
        *,
        event_id in (select event_id from {{ ref('int_staged_events__repeated') }}) as is_repeated
    from {{ ref('int_staged_events__collected') }}
    where {{ in_batch() }}
),

counted as (
    select
        file_digest,
        -- a record is one however many recipients it names
        count(*) filter (recipient_number = 1 and event_type is not null) as event_record_count,
        count(*) filter (recipient_number = 1 and event_type is null) as ignored_record_count,
        count(*) filter (event_type is not null) as staged_event_count,
        -- nearly all stand there once
        count(*) filter (event_type is not null and not is_repeated)
        + count(distinct event_id) filter (event_type is not null and is_repeated) as distinct_event_count,
        min(event_at) filter (event_type is not null) as first_event_at,
        max(event_at) filter (event_type is not null) as last_event_at
    from staged
    group by file_digest
)

select
    loads.source_name,
    loads.source_file,
    loads.file_digest,
    cast(loads.file_bytes as bigint) as file_bytes,
    loads.compression,
    cast(loads.records_read as bigint) as records_read,
    cast(loads.records_landed as bigint) as records_landed,
    cast(loads.records_rejected as bigint) as records_rejected,
    coalesce(counted.event_record_count, 0) as event_record_count,
    coalesce(counted.ignored_record_count, 0) as ignored_record_count,
    coalesce(counted.staged_event_count, 0) as staged_event_count,
    coalesce(counted.distinct_event_count, 0) as distinct_event_count,
    counted.first_event_at,
    counted.last_event_at,
    cast(loads.is_complete as boolean) as is_complete,
    loads.message,
    cast(loads.landed_at as timestamp) as landed_at,
    cast(null as timestamp) as dropped_at
from loads
left join counted on loads.file_digest = counted.file_digest
union all by name
select * from {{ source('landing', 'retained_files') }}
