-- Addresses whose profile has another history than when the last build was finished: the lists' causes changed, or when it
-- begins.

{{ config(materialized='view') }}

select address from {{ ref('int_suppression_addresses__changed') }}
union
select address from {{ ref('int_profiles__touched') }}
where is_first_seen_changed
