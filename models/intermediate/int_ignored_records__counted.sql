-- Records that are no delivery event, by file and kind.

{{ config(
    materialized='incremental',
    unique_key='file_digest',
) }}

select
    source_name,
    source_file,
    file_digest,
    coalesce(native_event_type, 'unknown') as native_event_type,
    count(*) as ignored_record_count
from {{ ref('int_staged_events__collected') }}
where event_type is null and recipient_number = 1 and {{ in_batch() }}
group by all
union all
select
    source_name,
    source_file,
    file_digest,
    native_event_type,
    ignored_record_count
from {{ source('landing', 'retained_ignored') }}
