-- Guards: staging loses no record. Each landed record is a delivery event or of a kind that is counted as none.

select
    source_name,
    source_file,
    records_landed,
    event_record_count,
    ignored_record_count
from {{ ref('ops_loads') }}
where
    source_name <> 'actions'
    and records_landed <> event_record_count + ignored_record_count
