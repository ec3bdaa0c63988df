-- Days of which the records of the touched groups are: whoever looks for their events need not look through all others.

{% if is_rebuilt() -%}
-- all are touched
select distinct event_date from {{ ref('int_group_days__recorded') }}
union
select cast(fact_at as date) as event_date from {{ ref('int_postfix__queue_facts') }}
where fact = 'expired'
{%- else -%}
{{ days_of_groups(ref('int_message_groups__touched')) }}
{%- endif %}
