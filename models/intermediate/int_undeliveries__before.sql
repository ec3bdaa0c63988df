-- The days on which the messages that are judged anew had ended undelivered when the last build was finished. None, where the
-- lists are not carried on from that build.
-- depends_on: {{ ref('int_message_dates__judged') }}
-- depends_on: {{ ref('int_message_groups__judged') }}

{% if is_list_continued() %}
select distinct undelivered_date
from marts.marts.fct_messages
where
    outcome = 'undelivered'
    and first_event_date in (select first_event_date from {{ ref('int_message_dates__judged') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
{% else %}
select cast(null as date) as undelivered_date
where false
{% endif %}
