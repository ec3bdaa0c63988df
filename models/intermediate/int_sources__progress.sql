-- How far each source's data reaches. What "passed" means is judged here, never at the wall clock.

{{ config(materialized='view') }}

select
    source_name,
    max(last_event_at) as data_through_at
from {{ ref('int_files__accounted') }}
where last_event_at is not null
group by source_name
