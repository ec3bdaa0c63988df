-- Guards: each event belongs to exactly one message and recipient, and no message is left of events that moved.

with events as (
    select distinct coalesce(links.message_recipient_id, events.message_recipient_id) as message_recipient_id
    from {{ ref('fct_delivery_events') }} as events
    left join {{ ref('int_report_links__found') }} as links on events.event_id = links.event_id
),

messages as (
    select message_recipient_id from {{ ref('fct_messages') }}
)

select coalesce(events.message_recipient_id, messages.message_recipient_id) as message_recipient_id
from events
full join messages on events.message_recipient_id = messages.message_recipient_id
where events.message_recipient_id is null or messages.message_recipient_id is null
