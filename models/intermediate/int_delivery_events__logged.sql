-- The events of the touched groups as logged; all, where everything is built from landing. Joins, not `in`: of a join the engine
-- can tell how much it gives, and takes the smaller side of the next one for its hash table.
-- depends_on: {{ ref('int_logged_days__touched') }}
-- depends_on: {{ ref('int_message_groups__touched') }}

{{ config(materialized='view') }}

select events.*
from {{ ref('int_delivery_events__united') }} as events
{% if not is_rebuilt() -%}
inner join {{ ref('int_logged_days__touched') }} as days on events.event_date = days.event_date
inner join {{ ref('int_message_groups__touched') }} as touched on events.message_group_id = touched.message_group_id
{%- endif %}
