-- What Postfix logs once for a queue id and every recipient line of it needs. Kept, because a message's retries lie in
-- later files than its arrival, and files may come in any order.

{{ config(
    materialized='incremental',
    unique_key='line_id',
    days={'column': 'fact_date'},
    order_by='fact_date, fact',
) }}

select
    line_id,
    -- the line of a hand-over to a content filter says where another id comes from
    case
        when next_queue_id is not null then {{ digest(["'postfix'", 'host', 'next_queue_id']) }}
        else message_group_id
    end as message_group_id,
    event_at as fact_at,
    cast(event_at as date) as fact_date,
    case
        when next_queue_id is not null then 'origin'
        when line_kind = 'header' then 'header ' || lower(header_name)
        else line_kind
    end as fact,
    case line_kind
        when 'recipient' then cast(message_group_id as varchar)
        when 'header' then header_value
        when 'message_id' then message_id
        when 'sender' then {{ normal_address('sender') }}
        when 'expired' then {{ normal_address('sender') }}
    end as fact_value,
    source_file,
    file_digest,
    record_number,
    landed_at
from {{ ref('stg_postfix__lines') }}
where
    line_kind in ('message_id', 'sender', 'expired', 'removed')
    or next_queue_id is not null
    or (line_kind = 'header' and lower(header_name) in ('from', 'x-campaign', 'x-campaign-id'))
qualify row_number() over (partition by line_id order by file_digest, record_number) = 1
