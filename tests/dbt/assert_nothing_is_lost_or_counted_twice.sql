-- Guards: the conservation laws, file by file (models/marts/ops/ops_reconciliation.sql). A record that is lost while landing or
-- staging, a reject that cannot be looked at, an event that deriving loses, doubles or invents would show here.

select
    source_name,
    source_file,
    difference_count,
    records_read,
    records_landed,
    records_rejected,
    kept_reject_count,
    event_record_count,
    ignored_record_count,
    staged_event_count,
    distinct_event_count,
    united_event_count,
    concluded_event_count,
    event_count,
    joined_report_count,
    unjoined_report_count
from {{ ref('ops_reconciliation') }}
where difference_count <> 0
