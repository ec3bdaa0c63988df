-- Of the messages that are judged anew: the days on which they had ended undelivered when the last build was finished, and the
-- groups of those that were in flight then, which time can end. Nothing, where the lists are not carried on from that build.
-- depends_on: {{ ref('int_message_dates__judged') }}
-- depends_on: {{ ref('int_message_groups__judged') }}

{% if is_list_continued() %}
select
    message_group_id,
    cast(null as date) as undelivered_date
from marts.marts.fct_messages
where outcome = 'in_flight'
union
select
    cast(null as uuid) as message_group_id,
    cast(undelivered_at as date) as undelivered_date
from marts.marts.fct_messages
where
    outcome = 'undelivered'
    and first_event_date in (select first_event_date from {{ ref('int_message_dates__judged') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
{% else %}
select
    cast(null as uuid) as message_group_id,
    cast(null as date) as undelivered_date
where false
{% endif %}
