-- SparkPost's events of people who asked not to be mailed any more, by the header or by a link.
-- Format: https://developers.sparkpost.com/api/webhooks/

select
    {{ digest(["'sparkpost'", 'type', 'coalesce(event_id, "timestamp")', normal_address('rcpt_to')]) }} as opt_out_id,
    'sparkpost' as source_name,
    {{ normal_address('rcpt_to') }} as address,
    coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
    false as is_removal,
    type as why
from {{ source('landing', 'sparkpost') }}
where type in ('list_unsubscribe', 'link_unsubscribe')
