with files as (
    select
        source_name,
        count(*) as file_count,
        cast(sum(records_read) as bigint) as record_count,
        cast(sum(records_rejected) as bigint) as rejected_count,
        cast(sum(ignored_record_count) as bigint) as ignored_count,
        cast(sum(staged_event_count) as bigint) as staged_event_count,
        max(landed_at) as last_landed_at
    from {{ ref('int_files__accounted') }}
    group by source_name
),

events as (
    select
        source_name,
        count(*) as event_count
    from {{ ref('int_delivery_events__united') }}
    group by source_name
),

progress as (
    select * from {{ ref('int_sources__progress') }}
)

select
    files.source_name,
    progress.data_through_at,
    files.file_count,
    files.record_count,
    files.rejected_count,
    files.ignored_count,
    coalesce(events.event_count, 0) as event_count,
    files.staged_event_count - coalesce(events.event_count, 0) as duplicate_count,
    files.last_landed_at
from files
left join events on files.source_name = events.source_name
left join progress on files.source_name = progress.source_name
