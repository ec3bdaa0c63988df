-- Days of which the batch changed something: the daily marts replace these, and no others.

with events as (
    select * from {{ ref('fct_delivery_events') }}
),

touched as (
    select
        event_date,
        recipient
    from events
    where
        event_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
)

select event_date from touched
union
-- a report is joined to a message of the same recipient: it may have found, changed or lost the one it speaks of
select report_date as event_date from {{ ref('int_report_links__changed') }}
{%- if not var('is_continued') %}
union
select event_date from events
where
    event_type in ('out_of_band_bounce', 'complaint')
    and recipient in (select recipient from touched)
{%- endif %}
union
-- an expiry that the batch undid (the recipient was delivered after all) has no event left to tell its day
select cast(fact_at as date) as event_date
from {{ ref('int_postfix__queue_facts') }}
where
    fact = 'expired'
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
{% if var('is_retouched') or var('is_rebuilt') %}
union
select event_date from {{ source('landing', 'retained_bounce_counts') }}
union
select event_date from {{ source('landing', 'retained_delivery_counts') }}
{% endif %}
