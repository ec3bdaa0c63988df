-- Bounces of each text by day: what the usual of a text is asked of, so that no question needs the events again.

{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

select
    event_date,
    text_id,
    reason,
    cast(sum(bounce_count) as bigint) as bounce_count
from {{ ref('rpt_bounces_daily') }}
where event_date in (select event_date from {{ ref('int_event_dates__touched') }})
group by all
