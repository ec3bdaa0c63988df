-- Guards: every event of the batch is a fact, however often it came: new ones are there, known ones still are.
-- A group's events are of the days of its records.

with facts as (
    select event_id from {{ ref('fct_delivery_events') }}
    where event_date in (select event_date from {{ ref('int_logged_days__touched') }})
)

select
    staged.event_id,
    staged.source_file,
    staged.record_number
from {{ ref('int_staged_events__collected') }} as staged
left join facts on staged.event_id = facts.event_id
where
    staged.event_type is not null
    and {{ in_batch('staged') }}
    and facts.event_id is null
    -- retention dropped it, while a file that holds it stayed
    and staged.event_id not in (select event_id from {{ source('landing', 'retained_event_keys') }})
