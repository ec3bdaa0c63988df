-- depends_on: {{ ref('int_attempts__reconsidered') }}
-- depends_on: {{ ref('int_group_days__recorded') }}
-- depends_on: {{ ref('int_judged_days__touched') }}
-- depends_on: {{ ref('int_message_dates__judged') }}
-- depends_on: {{ ref('int_message_groups__judged') }}
-- depends_on: {{ ref('int_message_keys__logged') }}
-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'event_id', 'model': 'int_attempts__reconsidered'},
    anew_unless_continued=true,
) }}

{%- set list_changes %}
    select * from {{ ref('int_suppression_addresses__changed') }}
    where isfinite(changed_from)
{%- endset %}

with {% if is_carried_on() %}
{%- set since = first_moment('select min(changed_from) from (' ~ list_changes ~ ')') %}
list_changes as (
    {{ list_changes }}
),

sent_groups as (
    {{ groups_of_messages_to('list_changes', since) }}
),

-- each once: the engine passes over the row groups of other days only by a short list
sent_days as (
    select distinct event_date from sent_groups
),

-- of all history by number; only then by what their addresses say, which the engine would have begun with
sent_events as materialized (
    select events.*
    from {{ ref('fct_delivery_events') }} as events
    inner join sent_groups
        on events.event_date = sent_groups.event_date and events.message_group_id = sent_groups.message_group_id
    where
        events.is_attempt
        and events.event_date in (select event_date from sent_days)
),

attempts as (
    select
        *,
        true as is_judged
    from {{ ref('fct_delivery_events') }}
    where
        is_attempt
        and event_date in (select event_date from {{ ref('int_judged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
    union all
    select
        sent_events.*,
        false as is_judged
    from sent_events
    inner join list_changes on sent_events.recipient = list_changes.address and sent_events.event_at >= list_changes.changed_from
    where sent_events.message_group_id not in (select message_group_id from {{ ref('int_message_groups__judged') }})
),
{% else %}
attempts as (
    select * from {{ ref('fct_delivery_events') }}
    where is_attempt
),
{% endif %}

-- from when to when an address was on the list
ledger as (
    select
        *,
        lead(occurred_at) over (
            partition by address
            -- at the same instant an end comes before the next begin
            order by occurred_at, action in ('added', 'imported'), suppression_event_id
        ) as removed_at
    from {{ ref('fct_suppression_events') }}
    qualify action in ('added', 'imported')
),

listed as (
    select
        attempts.*,
        ledger.suppression_event_id,
        ledger.occurred_at as suppressed_at
    from attempts
    inner join ledger
        on
            attempts.recipient = ledger.address
            and attempts.event_at > ledger.occurred_at
            and attempts.event_at < coalesce(ledger.removed_at, timestamp '9999-12-31')
),

{% if is_carried_on() -%}
-- hardly ever any: those for which the list changed long after
listed_later as (
    select
        message_recipient_id,
        message_group_id
    from listed
    where not is_judged
),

listed_dates as (
    {{ first_dates_of_groups('listed_later') }}
),

{% endif -%}
messages as (
    select
        message_recipient_id,
        first_event_at
    from {{ ref('fct_messages') }}
    {% if is_carried_on() %}
    where first_event_date in (select first_event_date from {{ ref('int_message_dates__judged') }})
    union
    select
        earlier.message_recipient_id,
        earlier.first_event_at
    from {{ ref('fct_messages') }} as earlier
    inner join listed_later on earlier.message_recipient_id = listed_later.message_recipient_id
    where earlier.first_event_date in (select first_event_date from listed_dates)
    {% endif %}
)

select
    listed.event_id,
    listed.source_name,
    listed.event_at,
    listed.event_date,
    listed.event_type,
    listed.message_recipient_id,
    listed.recipient,
    listed.recipient_domain,
    listed.provider,
    listed.from_domain,
    listed.sending_ip,
    listed.campaign_id,
    listed.suppression_event_id,
    listed.suppressed_at,
    -- retries of a message that was under way are the MTA's doing; a new message is the sender's
    messages.first_event_at <= listed.suppressed_at as is_in_flight
from listed
inner join messages on listed.message_recipient_id = messages.message_recipient_id
