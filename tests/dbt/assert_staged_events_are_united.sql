-- Guards: every event of the batch is a fact, however often it came: new ones are there, known ones still are.

select
    staged.event_id,
    staged.source_file,
    staged.record_number
from {{ ref('int_staged_events__collected') }} as staged
left join {{ ref('fct_delivery_events') }} as facts on staged.event_id = facts.event_id
where
    staged.event_type is not null
    and {{ in_batch('staged') }}
    and facts.event_id is null
    -- retention dropped it, while a file that holds it stayed
    and staged.event_id not in (select event_id from {{ source('landing', 'retained_event_keys') }})
