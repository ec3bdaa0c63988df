with files as (
    select
        source_name,
        cast(sum(file_count) as bigint) as file_count,
        cast(sum(records_read) as bigint) as record_count,
        cast(sum(records_rejected) as bigint) as rejected_count,
        cast(sum(ignored_record_count) as bigint) as ignored_count,
        cast(sum(united_event_count) as bigint) as event_count,
        cast(sum(duplicate_count) as bigint) as duplicate_count,
        cast(sum(joined_report_count + unjoined_report_count) as bigint) as separate_report_count,
        cast(sum(unjoined_report_count) as bigint) as unlinked_report_count
    from {{ ref('ops_reconciliation') }}
    group by source_name
),

landings as (
    select
        source_name,
        max(landed_at) as last_landed_at
    from {{ ref('int_files__accounted') }}
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
    files.event_count,
    files.duplicate_count,
    files.separate_report_count,
    files.unlinked_report_count,
    landings.last_landed_at
from files
left join landings on files.source_name = landings.source_name
left join progress on files.source_name = progress.source_name
