-- Events of which is found anew whether they were attempts to listed addresses: those of the groups that are judged anew, and
-- those that were found so since the list changed. All, where the lists are not carried on from the last build.
-- depends_on: {{ ref('int_judged_days__touched') }}
-- depends_on: {{ ref('int_message_groups__judged') }}
-- depends_on: {{ ref('int_suppression_addresses__changed') }}

select
    event_id,
    event_date
from {{ ref('fct_delivery_events') }}
{% if is_list_continued() %}
where
    event_date in (select event_date from {{ ref('int_judged_days__touched') }})
    and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
union
select
    sends.event_id,
    sends.event_date
from marts.marts.fct_suppressed_sends as sends
inner join {{ ref('int_suppression_addresses__changed') }} as changed
    on sends.recipient = changed.address and sends.event_at >= changed.changed_from
{% else %}
where false
{% endif %}
