-- What administrators decided, each decision once.

{{ config(
    materialized='incremental',
    unique_key='action_id',
) }}

select * from {{ ref('stg_actions__actions') }}
