{{ config(materialized='view') }}

with profiles as (
    select * from {{ ref('int_profiles__seen') }}
),

hard_bounced as (
    select * from {{ ref('dim_profile_history') }}
    where valid_until is null and profile_status = 'hard_bounced'
)

select
    profiles.address,
    {{ address_domain('profiles.address') }} as recipient_domain,
    coalesce(hard_bounced.profile_status, 'active') as profile_status,
    hard_bounced.valid_from as hard_bounced_at,
    hard_bounced.hard_bounce_event_id,
    profiles.first_seen_at,
    profiles.last_seen_at
from profiles
left join hard_bounced on profiles.address = hard_bounced.address
