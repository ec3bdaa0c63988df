-- Days on which the messages of the groups that are judged anew began. A report that is linked to one may be up to five
-- minutes older than its log.

{{ config(materialized='view') }}

select event_date as first_event_date from {{ ref('int_judged_days__touched') }}
union
select event_date - 1 as first_event_date from {{ ref('int_judged_days__touched') }}
