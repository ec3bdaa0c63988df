-- Days on which the messages began whose rows this build replaces: those of the groups that are judged anew, and of those with a
-- message that time alone can end.

{{ config(materialized='view') }}

with waiting_days as (
    select event_date from {{ ref('int_logged_days__found') }}
    where not is_touched
)

select first_event_date from {{ ref('int_message_dates__judged') }}
union
{{ first_dates('waiting_days') }}
