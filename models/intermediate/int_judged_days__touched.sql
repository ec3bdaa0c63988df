-- Days of the events of the groups that are judged anew, found by two columns: on all other days nothing else of them has to
-- be read.

select distinct event_date
from {{ ref('fct_delivery_events') }}
where message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
