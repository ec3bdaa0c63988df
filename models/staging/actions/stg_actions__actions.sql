-- What administrators decided about addresses. An action file grows, so its lines land again with every copy.

select
    action_id,
    action,
    {{ timestamp_from_iso('"at"') }} as acted_at,
    {{ normal_address('address') }} as address,
    "by" as acted_by,
    reason as why,
    source_file,
    file_digest,
    record_number,
    landed_at
from {{ source('landing', 'actions') }}
qualify row_number() over (partition by action_id order by file_digest, record_number, record_part) = 1
