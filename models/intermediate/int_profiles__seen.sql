-- depends_on: {{ ref('fct_delivery_events') }}
-- depends_on: {{ ref('int_postfix__queue_facts') }}
-- Every address that mail was sent to, and when it was first and last heard of: as long as there are events of it, or it
-- is in a ledger.

{{ config(
    materialized='incremental',
    unique_key='address',
) }}

with events as (
    select
        recipient as address,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at
    from {{ ref('int_delivery_events__completed') }}
    group by recipient
),

{% if is_incremental() %}
-- what a queue manager gave up may turn out to have been another recipient's or another life's of the queue id: where
-- one did, nothing that was known of the address may be carried on
doubtful as (
    select distinct recipient as address
    from {{ ref('int_delivery_events__completed') }}
    where message_group_id in (
        select message_group_id from {{ ref('int_postfix__queue_facts') }}
        where fact = 'expired'
    )
),

known as (
    select * from {{ this }}
    where
        address not in (select address from doubtful)
        and (
            address in (select address from events)
            or address in (select address from {{ source('landing', 'retained_profiles') }})
        )
    union all by name
    select
        recipient as address,
        min(event_at) as first_seen_at,
        max(event_at) as last_seen_at
    from {{ ref('fct_delivery_events') }}
    where recipient in (select address from doubtful)
    group by recipient
),
{% endif %}

combined as (
    select
        address,
        first_seen_at,
        last_seen_at
    from events
    union all by name
    select
        address,
        first_seen_at,
        last_seen_at
    from {{ source('landing', 'retained_profiles') }}
    {% if is_incremental() %}
    union all by name
    select * from known
    {% endif %}
)

select
    address,
    min(first_seen_at) as first_seen_at,
    max(last_seen_at) as last_seen_at
from combined
group by address
