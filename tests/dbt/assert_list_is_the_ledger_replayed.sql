-- Guards: an address is on the list exactly if the ledger put it there once more often than it took it off.

with replayed as (
    select
        address,
        sum(case when action in ('added', 'imported') then 1 else -1 end) as balance
    from {{ ref('fct_suppression_events') }}
    group by address
),

listed as (
    select address from {{ ref('dim_suppressed_addresses') }}
)

select
    coalesce(replayed.address, listed.address) as address,
    replayed.balance
from replayed
full join listed on replayed.address = listed.address
where
    replayed.balance not in (0, 1)
    or (replayed.balance = 1) <> (listed.address is not null)
