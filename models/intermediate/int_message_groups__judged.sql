-- Groups whose messages are judged (again) whatever time it is: touched by the batch, or concerned by a report that came
-- apart. Such a report is a message of its own until the message it speaks of is logged, and none from then on.

with links as (
    select * from {{ ref('int_report_links__found') }}
)

select message_group_id from {{ ref('int_message_groups__touched') }}
union
select report_message_group_id as message_group_id from links
union
select message_group_id from links
where linked_by is not null
