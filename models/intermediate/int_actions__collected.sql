-- What administrators decided, each decision once.

{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='action_id',
) }}

select * from {{ ref('stg_actions__actions') }}
