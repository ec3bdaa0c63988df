-- Days on which the messages began whose rows this build replaces: those of the groups that are judged anew, and of those with a
-- message that time alone can end. A report that is linked to one may be up to five minutes older than its log.

{{ config(materialized='view') }}

select first_event_date from {{ ref('int_message_dates__judged') }}
union
select event_date as first_event_date from {{ ref('int_logged_days__found') }}
where not is_touched
union
select event_date - 1 as first_event_date from {{ ref('int_logged_days__found') }}
where not is_touched
