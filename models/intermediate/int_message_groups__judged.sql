-- Groups whose messages are judged (again) whatever time it is: touched by the batch, or concerned by a report that came
-- apart and was itself touched, or linked in another way than before. Such a report is a message of its own until the message
-- it speaks of is logged, and none from then on.

with changed as (
    select * from {{ ref('int_report_links__changed') }}
),

starting as (
    select message_group_id from {{ ref('int_message_groups__touched') }}
    union
    select report_message_group_id as message_group_id from changed
)

select message_group_id from starting
union
select message_group_id from changed
where message_group_id is not null
union
select message_group_id from {{ ref('int_report_links__found') }}
where linked_by is not null and report_message_group_id in (select message_group_id from starting)
