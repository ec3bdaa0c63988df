-- Guards: each event belongs to exactly one message and recipient, and no message is left of events that moved.

with judged as (
    select message_group_id from {{ ref('int_message_groups__judged') }}
),

links as (
    select * from {{ ref('int_report_links__found') }}
),

events as (
    select distinct coalesce(links.message_recipient_id, events.message_recipient_id) as message_recipient_id
    from {{ ref('fct_delivery_events') }} as events
    left join links on events.event_id = links.event_id
    where {{ 'true' if var('is_tested_whole') else 'events.message_group_id in (select message_group_id from judged)' }}
),

messages as (
    select message_recipient_id from {{ ref('fct_messages') }}
    where {{ 'true' if var('is_tested_whole') else 'message_group_id in (select message_group_id from judged)' }}
)

select coalesce(events.message_recipient_id, messages.message_recipient_id) as message_recipient_id
from events
full join messages on events.message_recipient_id = messages.message_recipient_id
where events.message_recipient_id is null or messages.message_recipient_id is null
