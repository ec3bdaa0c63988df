-- An address that an administrator put on the list did not bounce; one that is taken off it, or recovered, is active again.
-- depends_on: {{ ref('int_suppression_addresses__changed') }}
{{ config(
    materialized='incremental',
    touched={'column': 'address', 'model': 'int_profile_histories__changed'},
    anew_unless_continued=true,
) }}

{%- set changed = ref('int_profile_histories__changed') %}
{%- set is_concerned = 'address in (select address from ' ~ changed ~ ')' if is_carried_on() else 'true' %}

with causes as (
    select * from {{ ref('fct_suppression_causes') }}
    where
        list_name = 'suppression'
        and (is_removal or cause = 'hard_bounce')
        and {{ is_concerned }}
),

changes as (
    {{ replayed_ledger('causes') }}
),

first_seen as (
    select
        address,
        first_seen_at
    from {{ ref('int_profiles__touched') }}
    where first_seen_at is not null and {{ is_concerned }}
    {% if is_carried_on() %}
    union all
    -- those of which only the causes changed are as the last build left them
    select
        address,
        first_seen_at
    from {{ this.incorporate(path={'identifier': 'dim_profiles'}) }}
    where
        address in (select address from {{ ref('int_suppression_addresses__changed') }})
        and address not in (select address from {{ ref('int_profiles__touched') }})
    {% endif %}
),

states as (
    select
        address,
        'active' as profile_status,
        first_seen_at as valid_from,
        null as event_id
    from first_seen
    union all
    select
        address,
        case when action = 'added' then 'hard_bounced' else 'active' end as profile_status,
        occurred_at as valid_from,
        event_id
    from changes
)

select
    address,
    profile_status,
    valid_from,
    lead(valid_from) over (
        partition by address
        order by valid_from, profile_status = 'hard_bounced', event_id
    ) as valid_until,
    event_id as hard_bounce_event_id
from states
-- an address first heard of by its bounce was active for no time
qualify valid_until is null or valid_from < valid_until
