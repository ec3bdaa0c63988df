-- Days of the records of the groups that the batch touched, and of those that only wait for time: whoever looks for their events
-- need not look through all others. Found together, as it takes all history to find them.
-- depends_on: {{ ref('int_message_groups__touched') }}
-- depends_on: {{ ref('int_message_groups__waiting') }}

{% if is_rebuilt() -%}
-- all are touched
select
    event_date,
    true as is_touched
from {{ ref('int_group_days__recorded') }}
union
select
    cast(fact_at as date) as event_date,
    true as is_touched
from {{ ref('int_postfix__queue_facts') }}
where fact = 'expired'
{%- else -%}
with touched as (
    select message_group_id from {{ ref('int_message_groups__touched') }}
),

sought as (
    select
        message_group_id,
        true as is_touched
    from touched
    union all
    select
        message_group_id,
        false as is_touched
    from {{ ref('int_message_groups__waiting') }}
    where message_group_id not in (select message_group_id from touched)
),

group_days as (
    {{ all_group_days() }}
)

select distinct
    group_days.event_date,
    sought.is_touched
from group_days
inner join sought on group_days.message_group_id = sought.message_group_id
{%- endif %}
