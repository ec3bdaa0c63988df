{{ config(materialized='view') }}

select
    source_name,
    source_file,
    file_digest,
    native_event_type,
    ignored_record_count
from {{ ref('int_ignored_records__counted') }}
