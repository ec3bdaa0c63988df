-- Messages that were delivered to an address after it had been refused finally and hard: what the comparison of policies
-- counts. Some may stay of an address of which an earlier refusal turned out to be none.
-- depends_on: {{ ref('int_group_days__recorded') }}
-- depends_on: {{ ref('int_later_deliveries__reconsidered') }}
-- depends_on: {{ ref('int_message_dates__judged') }}
-- depends_on: {{ ref('int_message_groups__judged') }}
-- depends_on: {{ ref('int_message_keys__logged') }}
-- depends_on: {{ ref('int_suppression_addresses__changed') }}

{{ config(
    materialized='incremental',
    touched={'column': 'message_recipient_id', 'model': 'int_later_deliveries__reconsidered'},
    anew_unless_continued=true,
) }}

{%- set bounced %}
    select
        address,
        min(event_at) as bounced_at
    from {{ ref('int_suppression_evidence__collected') }}
    group by address
{%- endset %}
{%- set newly_bounced %}
    select bounced.*
    from bounced
    inner join {{ ref('int_suppression_addresses__changed') }} as changed
        on bounced.address = changed.address and bounced.bounced_at >= changed.changed_from
{%- endset %}

{%- set columns = ['message_recipient_id', 'message_group_id', 'recipient', 'delivered_at'] %}

with bounced as (
    {{ bounced }}
),

{% if is_carried_on() %}
{%- set since = first_moment('with bounced as (' ~ bounced ~ ') select min(bounced_at) from (' ~ newly_bounced ~ ')') %}
-- of those that bounced before, the deliveries are known
newly_bounced as (
    {{ newly_bounced }}
),

sent_to as (
    {{ groups_of_messages_to('newly_bounced', since) }}
),

sent_groups as (
    select distinct message_group_id from sent_to
    where message_group_id not in (select message_group_id from {{ ref('int_message_groups__judged') }})
),

sent_dates as (
    {{ first_dates_of_groups('sent_groups') }}
),

-- both by day and group; only then by what their addresses say, which the engine would have begun with
sent_messages as materialized (
    select {{ columns | join(', ') }}
    from {{ ref('fct_messages') }}
    where
        outcome = 'delivered'
        and delivered_at > {{ since }}
        and first_event_date in (select first_event_date from sent_dates)
        and message_group_id in (select message_group_id from sent_groups)
),

judged_messages as materialized (
    select {{ columns | join(', ') }}
    from {{ ref('fct_messages') }}
    where
        outcome = 'delivered'
        and first_event_date in (select first_event_date from {{ ref('int_message_dates__judged') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
),

later as (
    select judged_messages.*
    from judged_messages
    inner join bounced on judged_messages.recipient = bounced.address and judged_messages.delivered_at > bounced.bounced_at
    union all
    select sent_messages.*
    from sent_messages
    inner join newly_bounced
        on sent_messages.recipient = newly_bounced.address and sent_messages.delivered_at > newly_bounced.bounced_at
)
{% else %}
later as (
    select messages.*
    from {{ ref('fct_messages') }} as messages
    inner join bounced on messages.recipient = bounced.address and messages.delivered_at > bounced.bounced_at
    where messages.outcome = 'delivered'
)
{% endif %}

select
    message_recipient_id,
    message_group_id,
    recipient as address,
    delivered_at
from later
