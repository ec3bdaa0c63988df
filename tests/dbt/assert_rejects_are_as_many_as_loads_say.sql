-- Guards: a reject that a load record counts can be looked at.

with loads as (
    select * from {{ ref('ops_loads') }}
),

rejects as (
    select
        file_digest,
        count(*) as reject_count
    from {{ ref('ops_rejects') }}
    group by file_digest
)

select
    loads.source_name,
    loads.source_file,
    loads.records_rejected,
    coalesce(rejects.reject_count, 0) as reject_count
from loads
left join rejects on loads.file_digest = rejects.file_digest
where loads.dropped_at is null and loads.records_rejected <> coalesce(rejects.reject_count, 0)
