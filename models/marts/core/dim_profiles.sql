{{ config(materialized='view') }}

with profiles as (
    select * from {{ ref('int_profiles__seen') }}
),

suppressed as (
    select * from {{ ref('dim_suppressed_addresses') }}
    -- an address that an administrator put on the list did not bounce
    where event_id is not null
)

select
    profiles.address,
    {{ address_domain('profiles.address') }} as recipient_domain,
    case when suppressed.address is null then 'active' else 'hard_bounced' end as profile_status,
    suppressed.suppressed_at as hard_bounced_at,
    suppressed.event_id as hard_bounce_event_id,
    profiles.first_seen_at,
    profiles.last_seen_at
from profiles
left join suppressed on profiles.address = suppressed.address
