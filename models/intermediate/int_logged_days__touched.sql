-- Days of which the records of the touched groups are: whoever looks for their events need not look through all others.

select distinct event_date
from {{ ref('int_staged_events__collected') }}
where event_type is not null and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
union
-- what a queue manager gives up is an event of that day, unless the batch undid it (the recipient was delivered after all)
select cast(fact_at as date) as event_date
from {{ ref('int_postfix__queue_facts') }}
where
    fact = 'expired'
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
