{{ config(materialized='view') }}

select
    source_name,
    source_file,
    file_digest,
    record_number,
    record_part,
    reason,
    record_bytes,
    record_text,
    landed_at
from {{ ref('int_rejects__collected') }}
