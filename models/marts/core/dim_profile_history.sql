-- An address that an administrator put on the list did not bounce; one that is taken off it, or recovered, is active again.
with changes as (
    {{ replayed_ledger(
        "(select * from " ~ ref('fct_suppression_causes') ~ " where list_name = 'suppression' and (is_removal or cause = 'hard_bounce'))"
    ) }}
),

first_seen as (
    select
        address,
        first_seen_at
    from {{ ref('int_profiles__seen') }}
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
