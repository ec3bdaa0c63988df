{{ config(materialized='view') }}

select
    source_name,
    source_file,
    file_digest,
    file_bytes,
    compression,
    records_read,
    records_landed,
    records_rejected,
    event_record_count,
    ignored_record_count,
    staged_event_count,
    first_event_at,
    last_event_at,
    is_complete,
    message,
    landed_at,
    dropped_at
from {{ ref('int_files__accounted') }}
