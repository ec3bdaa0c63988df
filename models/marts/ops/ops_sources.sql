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

-- what is retained of events that have gone counts with those that are kept
counted as (
    select
        source_name,
        count(*) as event_count,
        0 as separate_report_count,
        0 as unlinked_report_count
    from {{ ref('int_delivery_events__united') }}
    group by source_name
    union all
    select
        report_source_name as source_name,
        0 as event_count,
        count(*) as separate_report_count,
        count(*) filter (linked_by is null) as unlinked_report_count
    from {{ ref('int_report_links__found') }}
    group by report_source_name
    union all
    select
        source_name,
        event_count,
        separate_report_count,
        unlinked_report_count
    from {{ source('landing', 'retained_sources') }}
),

totals as (
    select
        source_name,
        cast(sum(event_count) as bigint) as event_count,
        cast(sum(separate_report_count) as bigint) as separate_report_count,
        cast(sum(unlinked_report_count) as bigint) as unlinked_report_count
    from counted
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
    coalesce(totals.event_count, 0) as event_count,
    files.staged_event_count - coalesce(totals.event_count, 0) as duplicate_count,
    coalesce(totals.separate_report_count, 0) as separate_report_count,
    coalesce(totals.unlinked_report_count, 0) as unlinked_report_count,
    files.last_landed_at
from files
left join totals on files.source_name = totals.source_name
left join progress on files.source_name = progress.source_name
