-- Days of which the batch changed something: the daily marts replace these, and no others. Days of all records of the touched
-- groups, of copies that do not count too: an event leaves the day that it had when another copy is chosen.

select event_date from {{ ref('int_logged_days__touched') }}
union
-- a report is joined to a message of the same recipient: it may have found, changed or lost the one it speaks of
select report_date as event_date from {{ ref('int_report_links__changed') }}
{% if is_retouched() or is_rebuilt() %}
union
select event_date from {{ source('landing', 'retained_bounce_counts') }}
union
select event_date from {{ source('landing', 'retained_delivery_counts') }}
{% endif %}
