-- Records that could not be read, whole, as text that no terminal or spreadsheet acts on.

{{ config(
    materialized='incremental',
    unique_key='file_digest',
) }}

select
    source_name,
    source_file,
    file_digest,
    record_number,
    record_part,
    reason,
    octet_length(record) as record_bytes,
    -- enough to see what it is; the whole record stays in rejects/
    left(regexp_replace(coalesce(try(decode(record)), cast(record as varchar)), '[[:cntrl:]]', '?', 'g'), 1000) as record_text,
    landed_at
from {{ source('landing', 'rejects') }}
