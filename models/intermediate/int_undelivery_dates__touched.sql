-- Days of which other messages may have ended undelivered than when the last build was finished. All such days, where the
-- lists are not carried on from that build.
-- depends_on: {{ ref('int_message_dates__replaced') }}
-- depends_on: {{ ref('int_message_groups__replaced') }}
-- depends_on: {{ ref('int_undeliveries__before') }}

{% if is_list_continued() %}
select undelivered_date from {{ ref('int_undeliveries__before') }}
union
select undelivered_date
from {{ ref('fct_messages') }}
where
    outcome = 'undelivered'
    and first_event_date in (select first_event_date from {{ ref('int_message_dates__replaced') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__replaced') }})
{% else %}
select undelivered_date
from {{ ref('fct_messages') }}
where outcome = 'undelivered'
union
select undelivered_date from {{ source('landing', 'retained_undelivery_counts') }}
{% endif %}
