-- Delivery events of all sources as logged, each once.

{{ config(materialized='view') }}

select staged.*
from {{ ref('int_staged_events__collected') }} as staged
left join {{ ref('int_staged_events__repeated') }} as repeated on staged.event_id = repeated.event_id
where
    staged.event_id is not null
    and (
        repeated.event_id is null
        or (
            staged.file_digest = repeated.file_digest
            and staged.record_number = repeated.record_number
            and staged.record_part = repeated.record_part
            and staged.recipient_number = repeated.recipient_number
        )
    )
