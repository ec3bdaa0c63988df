-- Guards: deriving loses and doubles nothing. Facts are the united events, and one more for each recipient that
-- Postfix's queue manager gave up.

with united as (
    select
        source_name,
        count(*) as united_count
    from {{ ref('int_delivery_events__united') }}
    group by source_name
),

facts as (
    select
        source_name,
        count(*) filter (not (source_name = 'postfix' and event_type = 'expired')) as fact_count
    from {{ ref('fct_delivery_events') }}
    group by source_name
)

select
    coalesce(united.source_name, facts.source_name) as source_name,
    united.united_count,
    facts.fact_count
from united
full join facts on united.source_name = facts.source_name
where united.united_count is distinct from facts.fact_count
