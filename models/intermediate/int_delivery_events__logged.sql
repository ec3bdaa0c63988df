-- The events of the touched groups as logged. Joins, not `in`: of a join the engine can tell how much it gives, and takes the
-- smaller side of the next one for its hash table.

{{ config(materialized='view') }}

select events.*
from {{ ref('int_delivery_events__united') }} as events
inner join {{ ref('int_logged_days__touched') }} as days on events.event_date = days.event_date
inner join {{ ref('int_message_groups__touched') }} as touched on events.message_group_id = touched.message_group_id
