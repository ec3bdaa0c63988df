-- Days of which the batch changed something: the daily marts replace these, and no others.

select distinct event_date
from {{ ref('fct_delivery_events') }}
where message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
