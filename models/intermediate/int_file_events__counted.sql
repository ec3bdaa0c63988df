-- Events of each file by day, as united and as facts: what the accounts of files add up. Every day is counted again by a build
-- that tests everything.

{{ config(
    materialized='incremental',
    touched={'column': 'event_date', 'model': 'int_event_dates__touched'},
) }}

with touched_dates as (
    select event_date from {{ ref('int_event_dates__touched') }}
),

united as (
    select
        event_date,
        source_name,
        source_file,
        count(*) as united_event_count
    from {{ ref('int_delivery_events__united') }}
    {% if is_incremental() and not is_tested_whole() %}
    where event_date in (select event_date from touched_dates)
    {% endif %}
    group by event_date, source_name, source_file
),

events as (
    select
        event_date,
        source_name,
        source_file,
        count(*) as event_count,
        count(*) filter (is_attempt) as attempt_count,
        count(*) filter (
            event_type = 'out_of_band_bounce' or (event_type in ('deferred', 'bounced') and is_attempt)
        ) as refusal_count,
        -- one line of Postfix's queue manager ends a message for all recipients that were still deferred
        count(*) filter (source_name = 'postfix' and event_type = 'expired') as concluded_event_count,
        count(*) filter (event_type = 'injected') as injected_count,
        count(*) filter (event_type = 'delivered') as delivered_count,
        count(*) filter (event_type = 'deferred') as deferred_count,
        count(*) filter (event_type = 'bounced') as bounced_count,
        count(*) filter (event_type = 'expired') as expired_count,
        count(*) filter (event_type = 'dropped') as dropped_count,
        count(*) filter (event_type = 'out_of_band_bounce') as out_of_band_bounce_count,
        count(*) filter (event_type = 'complaint') as complaint_count
    from {{ ref('fct_delivery_events') }}
    {% if is_incremental() and not is_tested_whole() %}
    where event_date in (select event_date from touched_dates)
    {% endif %}
    group by event_date, source_name, source_file
)

select
    coalesce(united.event_date, events.event_date) as event_date,
    coalesce(united.source_name, events.source_name) as source_name,
    coalesce(united.source_file, events.source_file) as source_file,
    united.united_event_count,
    events.* exclude (event_date, source_name, source_file)
from united
full join events
    on
        united.event_date = events.event_date
        and united.source_name = events.source_name
        and united.source_file = events.source_file
