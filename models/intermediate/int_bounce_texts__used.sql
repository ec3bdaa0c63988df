-- Where each bounce text was met, by day: what the dictionary of texts is added up from, so that it need not read every reply
-- again.
-- depends_on: {{ ref('int_event_dates__touched') }}

{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

select
    event_date,
    text_id,
    min_by(response_text, (event_at, event_id)) as sample_text,
    min(event_at) as first_seen_at,
    max(event_at) as last_seen_at,
    count(*) as event_count
from {{ ref('fct_delivery_events') }}
where
    text_id is not null
    {% if is_incremental() %}
    and event_date in (select event_date from {{ ref('int_event_dates__touched') }})
    {% endif %}
group by event_date, text_id
