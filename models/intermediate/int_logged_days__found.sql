-- Days of the records of the groups that the batch touched, and of those that only wait for time: whoever looks for their events
-- need not look through all others. Found together, as it takes all history to find them.
-- depends_on: {{ ref('int_message_groups__touched') }}
-- depends_on: {{ ref('int_message_groups__waiting') }}

{#- `noqa`: the linter reads one side of the condition only #}
with group_days as (
    select * from {{ ref('int_group_days__recorded') }}
),

touched as (
    select message_group_id from {{ ref('int_message_groups__touched') }}
),

sought as (  -- noqa: ST03
    select
        {{ group_key('message_group_id') }} as group_key,
        true as is_touched
    from touched
    union all
    select
        {{ group_key('message_group_id') }} as group_key,
        false as is_touched
    from {{ ref('int_message_groups__waiting') }}
    where message_group_id not in (select message_group_id from touched)
)

{% if is_rebuilt() -%}
-- all are touched: the engine leaves out the steps that tell
select distinct
    event_date,
    true as is_touched
from group_days
{%- else -%}
select distinct
    group_days.event_date,
    sought.is_touched
from group_days
inner join sought on group_days.group_key = sought.group_key
{%- endif %}
