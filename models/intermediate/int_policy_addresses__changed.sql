-- Addresses that the suppression policies may judge otherwise than when the last build was finished.

{{ config(materialized='view') }}

select address from {{ ref('int_suppression_addresses__changed') }}
union
select address from {{ ref('int_later_deliveries__reconsidered') }}
union
select address from {{ ref('int_later_deliveries__collected') }}
where message_group_id in (select message_group_id from {{ ref('int_message_groups__judged') }})
