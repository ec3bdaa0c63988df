-- Days of the events of the groups that are judged anew, as they are and as they were: on all other days nothing of them has
-- to be read. Days of touched groups are known; others are judged for a report that speaks of them, and there are few.

with other_groups as (
    select message_group_id from {{ ref('int_message_groups__judged') }}
    where message_group_id not in (select message_group_id from {{ ref('int_message_groups__touched') }})
),

other_days as (
    {{ days_of_groups('other_groups') }}
)

select event_date from {{ ref('int_event_dates__touched') }}
union
select event_date from other_days
