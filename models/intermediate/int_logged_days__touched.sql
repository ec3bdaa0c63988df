-- Days of which the records of the touched groups are.

{{ config(materialized='view') }}

select event_date from {{ ref('int_logged_days__found') }}
where is_touched
