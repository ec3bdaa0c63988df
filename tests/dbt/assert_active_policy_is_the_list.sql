-- Guards: the comparison of the policies and the ledger speak of one list. What ops_suppression_policy_addresses says
-- of the policy in force is, address by address and bounce by bounce, what bounces put on dim_suppressed_addresses, and
-- ops_suppression_policies counts no more and no fewer.

with listed as (
    select
        address,
        event_id
    from {{ ref('dim_suppressed_addresses') }}
    -- what soft bounces put there, where that option is on, is no matter of the policies
    where
        cause = 'hard_bounce'
        or (event_id is not null and address in (select address from {{ ref('ops_suppression_policy_addresses') }}))
),

compared as (
    select
        address,
        {{ var('suppression_policy') }}_event_id as event_id
    from {{ ref('ops_suppression_policy_addresses') }}
    where {{ var('suppression_policy') }}_verdict = 'suppress'
),

counted as (
    select coalesce(sum(address_count), 0) as address_count
    from {{ ref('ops_suppression_policies') }}
    where {{ var('suppression_policy') }}_verdict = 'suppress'
)

select
    coalesce(listed.address, compared.address) as address,
    listed.event_id as listed_event_id,
    compared.event_id as compared_event_id
from listed
full join compared on listed.address = compared.address
where listed.event_id is distinct from compared.event_id
union all
select
    'all ' || counted.address_count as address,
    null as listed_event_id,
    null as compared_event_id
from counted
where counted.address_count <> (select count(*) from listed)
