-- Where everything that was read has gone. Each figure is counted where it arises: by the splitter, by its writer, in staging,
-- and in the tables of events; so the laws between them, whose breaches `difference_count` adds up, can fail.

with files as (
    select
        source_name,
        source_file,
        count(*) as file_count,
        sum(file_bytes) as file_bytes,
        sum(records_read) as records_read,
        sum(records_rejected) as records_rejected,
        -- the rejects of a file that retention has dropped went with it
        sum(case when dropped_at is null then records_rejected else 0 end) as looked_for_reject_count,
        sum(records_landed) as records_landed,
        sum(ignored_record_count) as ignored_record_count,
        -- what administrators decided is no event, and none of it is passed over
        sum(case source_name when 'actions' then records_landed else event_record_count end) as event_record_count,
        sum(staged_event_count) as staged_event_count,
        sum(distinct_event_count) as distinct_event_count
    from {{ ref('int_files__accounted') }}
    group by source_name, source_file
),

rejects as (
    select
        source_name,
        source_file,
        count(*) as kept_reject_count
    from {{ ref('int_rejects__collected') }}
    group by source_name, source_file
),

events as (
    select * exclude (event_date) from {{ ref('int_file_events__counted') }}
),

reports as (
    select
        report_source_name as source_name,
        report_source_file as source_file,
        count(*) filter (linked_by is not null) as joined_report_count,
        count(*) filter (linked_by is null) as unjoined_report_count
    from {{ ref('int_report_links__found') }}
    group by report_source_name, report_source_file
),

counted as (
    select * from files
    union all by name
    select * from rejects
    union all by name
    select * from events
    union all by name
    select * from reports
    union all by name
    select * from {{ source('landing', 'retained_accounts') }}
),

summed as (
    select
        source_name,
        source_file,
        cast(coalesce(sum(file_count), 0) as bigint) as file_count,
        cast(coalesce(sum(file_bytes), 0) as bigint) as file_bytes,
        cast(coalesce(sum(records_read), 0) as bigint) as records_read,
        cast(coalesce(sum(records_rejected), 0) as bigint) as records_rejected,
        cast(coalesce(sum(kept_reject_count), 0) as bigint) as kept_reject_count,
        cast(coalesce(sum(looked_for_reject_count), 0) as bigint) as looked_for_reject_count,
        cast(coalesce(sum(records_landed), 0) as bigint) as records_landed,
        cast(coalesce(sum(ignored_record_count), 0) as bigint) as ignored_record_count,
        cast(coalesce(sum(event_record_count), 0) as bigint) as event_record_count,
        cast(coalesce(sum(staged_event_count), 0) as bigint) as staged_event_count,
        cast(coalesce(sum(distinct_event_count), 0) as bigint) as distinct_event_count,
        cast(coalesce(sum(united_event_count), 0) as bigint) as united_event_count,
        cast(coalesce(sum(concluded_event_count), 0) as bigint) as concluded_event_count,
        cast(coalesce(sum(event_count), 0) as bigint) as event_count,
        cast(coalesce(sum(injected_count), 0) as bigint) as injected_count,
        cast(coalesce(sum(delivered_count), 0) as bigint) as delivered_count,
        cast(coalesce(sum(deferred_count), 0) as bigint) as deferred_count,
        cast(coalesce(sum(bounced_count), 0) as bigint) as bounced_count,
        cast(coalesce(sum(expired_count), 0) as bigint) as expired_count,
        cast(coalesce(sum(dropped_count), 0) as bigint) as dropped_count,
        cast(coalesce(sum(out_of_band_bounce_count), 0) as bigint) as out_of_band_bounce_count,
        cast(coalesce(sum(complaint_count), 0) as bigint) as complaint_count,
        cast(coalesce(sum(joined_report_count), 0) as bigint) as joined_report_count,
        cast(coalesce(sum(unjoined_report_count), 0) as bigint) as unjoined_report_count
    from counted
    group by source_name, source_file
)

select
    * exclude (looked_for_reject_count),
    staged_event_count - united_event_count as duplicate_count,
    abs(records_read - records_landed - records_rejected)
    + abs(looked_for_reject_count - kept_reject_count)
    + abs(records_landed - event_record_count - ignored_record_count)
    -- of the copies of an event one stands for all, and none in a file that does not have it
    + greatest(united_event_count - distinct_event_count, 0)
    + abs(united_event_count + concluded_event_count - event_count)
    -- whatever came to a bounce mailbox came apart
    + case source_name when 'dsn' then abs(event_count - joined_report_count - unjoined_report_count) else 0 end
        as difference_count
from summed
