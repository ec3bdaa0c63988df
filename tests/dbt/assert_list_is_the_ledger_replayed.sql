-- Guards: an address is on the list exactly if the ledger put it there once more often than it took it off. Both are written
-- where the causes of an address changed; of all others, how many there are is compared.

{%- set changed = ref('int_suppression_addresses__changed') %}
{%- set is_looked_at = 'true' if is_tested_whole() else 'address in (select address from ' ~ changed ~ ')' %}

with replayed as (
    select
        address,
        sum(case when action in ('added', 'imported') then 1 else -1 end) as balance
    from {{ ref('fct_suppression_events') }}
    where {{ is_looked_at }}
    group by address
),

listed as (
    select address from {{ ref('dim_suppressed_addresses') }}
    where {{ is_looked_at }}
),

ledger_counts as (
    select coalesce(sum(case when action in ('added', 'imported') then 1 else -1 end), 0) as address_count
    from {{ ref('fct_suppression_events') }}
),

list_counts as (
    select count(*) as address_count from {{ ref('dim_suppressed_addresses') }}
)

select
    coalesce(replayed.address, listed.address) as address,
    replayed.balance
from replayed
full join listed on replayed.address = listed.address
where
    replayed.balance not in (0, 1)
    or (replayed.balance = 1) <> (listed.address is not null)
union all
select
    'all' as address,
    ledger_counts.address_count - list_counts.address_count as balance
from ledger_counts
inner join list_counts on ledger_counts.address_count <> list_counts.address_count
