-- What Exim logs once for a message and every recipient line of it needs. Kept, because a message's retries lie in later
-- files than its arrival, and files may come in any order.

{{ config(
    materialized='incremental',
    unique_key='line_id',
    days={'column': 'fact_date'},
    order_by='fact_date, fact',
) }}

with told as (
    select
        *,
        'message_id' as fact,
        message_id as fact_value
    from {{ ref('stg_exim__lines') }}
    where message_id is not null
    union all
    select
        *,
        'sender' as fact,
        {{ normal_address('sender') }} as fact_value
    from {{ ref('stg_exim__lines') }}
    where sender is not null
    union all
    select
        *,
        'removed' as fact,
        cast(null as varchar) as fact_value
    from {{ ref('stg_exim__lines') }}
    where line_kind = 'removed'
)

select
    -- an arrival tells two facts
    {{ digest(['line_id', 'fact']) }} as line_id,
    message_group_id,
    event_at as fact_at,
    cast(event_at as date) as fact_date,
    fact,
    fact_value,
    source_file,
    file_digest,
    record_number,
    landed_at
from told
qualify row_number() over (partition by line_id, fact order by file_digest, record_number) = 1
