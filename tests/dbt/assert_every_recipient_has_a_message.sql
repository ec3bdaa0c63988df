-- Guards: each event belongs to exactly one message and recipient, and no message is left of events that moved. A message's
-- events and its row are written where its group is judged, its row where time can end it, too.
-- depends_on: {{ ref('int_judged_days__touched') }}
-- depends_on: {{ ref('int_logged_days__found') }}
-- depends_on: {{ ref('int_message_dates__replaced') }}
-- depends_on: {{ ref('int_message_groups__replaced') }}

with links as (
    select * from {{ ref('int_report_links__found') }}
),

read_days as (
    select event_date from {{ ref('int_judged_days__touched') }}
    union
    select event_date from {{ ref('int_logged_days__found') }}
    where not is_touched
),

events as (
    select distinct coalesce(links.message_recipient_id, events.message_recipient_id) as message_recipient_id
    from {{ ref('fct_delivery_events') }} as events
    left join links on events.event_id = links.event_id
    {% if not is_tested_whole() %}
    where
        events.event_date in (select event_date from read_days)
        and events.message_group_id in (select message_group_id from {{ ref('int_message_groups__replaced') }})
        -- a report may stand in the group of a message that waits, and speak of one that is left as it is
        and coalesce(links.message_group_id, events.message_group_id) in (
            select message_group_id from {{ ref('int_message_groups__replaced') }}
        )
    {% endif %}
),

messages as (
    select message_recipient_id from {{ ref('fct_messages') }}
    {% if not is_tested_whole() %}
    where
        first_event_date in (select first_event_date from {{ ref('int_message_dates__replaced') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__replaced') }})
    {% endif %}
)

select coalesce(events.message_recipient_id, messages.message_recipient_id) as message_recipient_id
from events
full join messages on events.message_recipient_id = messages.message_recipient_id
where events.message_recipient_id is null or messages.message_recipient_id is null
