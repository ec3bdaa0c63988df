-- Groups of the messages whose rows this build replaces: those that are judged anew, and those with a message that time alone can
-- end.

{{ config(materialized='view') }}

select message_group_id from {{ ref('int_message_groups__judged') }}
union
select message_group_id from {{ ref('int_message_groups__waiting') }}
