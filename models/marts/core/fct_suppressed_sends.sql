with attempts as (
    select * from {{ ref('fct_delivery_events') }}
    where is_attempt
),

messages as (
    select * from {{ ref('fct_messages') }}
),

-- from when to when an address was on the list
ledger as (
    select
        *,
        lead(occurred_at) over (
            partition by address
            -- at the same instant an end comes before the next begin
            order by occurred_at, action in ('added', 'imported'), suppression_event_id
        ) as removed_at
    from {{ ref('fct_suppression_events') }}
    qualify action in ('added', 'imported')
)

select
    attempts.event_id,
    attempts.source_name,
    attempts.event_at,
    attempts.event_date,
    attempts.event_type,
    attempts.message_recipient_id,
    attempts.recipient,
    attempts.recipient_domain,
    attempts.provider,
    attempts.from_domain,
    attempts.sending_ip,
    attempts.campaign_id,
    ledger.suppression_event_id,
    ledger.occurred_at as suppressed_at,
    -- retries of a message that was under way are the MTA's doing; a new message is the sender's
    messages.first_event_at <= ledger.occurred_at as is_in_flight
from attempts
inner join ledger
    on
        attempts.recipient = ledger.address
        and attempts.event_at > ledger.occurred_at
        and attempts.event_at < coalesce(ledger.removed_at, timestamp '9999-12-31')
inner join messages on attempts.message_recipient_id = messages.message_recipient_id
