-- Messages of int_later_deliveries__collected, as the last build left it, that are judged anew. None, where the lists are not
-- carried on from that build.
-- depends_on: {{ ref('int_message_groups__judged') }}

{% if is_list_continued() %}
select
    message_recipient_id,
    address
from {{ this.incorporate(path={'identifier': 'int_later_deliveries__collected'}) }}
where message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
{% else %}
select
    cast(null as uuid) as message_recipient_id,
    cast(null as varchar) as address
where false
{% endif %}
