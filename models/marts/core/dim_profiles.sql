-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_profiles__touched'},
    anew_unless_continued=true,
) }}

with profiles as (
    select
        address,
        first_seen_at,
        last_seen_at
    from {{ ref('int_profiles__touched') }}
    where first_seen_at is not null
    {% if is_carried_on() %}
    union all
    -- not heard of, but the lists' causes changed
    select
        address,
        first_seen_at,
        last_seen_at
    from {{ this }}
    where
        address in (select address from {{ ref('int_suppression_addresses__changed') }})
        and address not in (select address from {{ ref('int_profiles__touched') }})
    {% endif %}
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
