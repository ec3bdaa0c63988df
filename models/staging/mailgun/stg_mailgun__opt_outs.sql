-- Mailgun's events of people who asked not to be mailed any more.
-- Format: https://documentation.mailgun.com/docs/mailgun/user-manual/events/events

select
    {{ digest(["'mailgun'", 'event', 'coalesce(id, "timestamp")', normal_address('recipient')]) }} as opt_out_id,
    'mailgun' as source_name,
    {{ normal_address('recipient') }} as address,
    coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
    false as is_removal,
    event as why
from {{ source('landing', 'mailgun') }}
where event = 'unsubscribed'
