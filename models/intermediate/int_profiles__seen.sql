-- Every address that mail was sent to, and when it was first and last heard of: as long as there are events of it, or it
-- is in a ledger.

{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
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
known as (
    select * from {{ this }}
    where
        address in (select address from events)
        or address in (select address from {{ source('landing', 'retained_profiles') }})
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
