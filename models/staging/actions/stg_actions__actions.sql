-- What administrators decided about addresses. An action file grows, so its lines land again with every copy.

select
    action_id,
    action,
    coalesce(list, 'suppression') as list_name,
    {{ timestamp_from_iso('"at"') }} as acted_at,
    {{ normal_address('address') }} as address,
    "by" as acted_by,
    reason as why,
    {{ timestamp_from_iso('listed_at') }} as listed_at,
    origin,
    {{ timestamp_from_iso('"from"') }} as from_at,
    {{ timestamp_from_iso('until') }} as until_at,
    cast(margin_hours as double) as margin_hours,
    lower(recipient_domain) as recipient_domain,
    provider,
    pattern,
    bounce_reason,
    source_file,
    file_digest,
    record_number,
    landed_at
from {{ source('landing', 'actions') }}
qualify row_number() over (partition by action_id order by file_digest, record_number, record_part) = 1
