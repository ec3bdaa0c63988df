-- SendGrid's events of people who asked not to be mailed any more. Who leaves one of the sender's groups
-- (`group_unsubscribe`) is still to be mailed by the others.
-- Format: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event

select
    {{ digest(["'sendgrid'", 'event', normal_address('email'), '"timestamp"']) }} as opt_out_id,
    'sendgrid' as source_name,
    {{ normal_address('email') }} as address,
    coalesce({{ timestamp_from_epoch('"timestamp"') }}, {{ timestamp_from_iso('"timestamp"') }}) as event_at,
    false as is_removal,
    event as why
from {{ source('landing', 'sendgrid') }}
where event = 'unsubscribe'
