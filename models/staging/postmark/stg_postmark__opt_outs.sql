-- Postmark's records of people who asked not to be mailed any more, or to be mailed again. It tells of its own
-- suppressions after bounces and complaints in the same way: these are no request of a person's.
-- Format: https://postmarkapp.com/developer/webhooks/subscription-change-webhook

select
    {{ digest(["'postmark'", '"RecordType"', '"MessageID"', normal_address('"Recipient"'), '"ChangedAt"']) }} as opt_out_id,
    'postmark' as source_name,
    {{ normal_address('"Recipient"') }} as address,
    coalesce({{ timestamp_from_iso('"ChangedAt"') }}, {{ timestamp_from_epoch('"ChangedAt"') }}) as event_at,
    "SuppressSending" = 'false' as is_removal,
    concat_ws(' ', "RecordType", "SuppressionReason") as why
from {{ source('landing', 'postmark') }}
where
    "RecordType" = 'SubscriptionChange'
    and ("SuppressSending" = 'false' or "SuppressionReason" = 'ManualSuppression')
