-- Days of which the build counts anew what ended undelivered, or was sent in vain: those of which the batch changed something,
-- and those of which time or the list did.
-- depends_on: {{ ref('int_attempts__reconsidered') }}

select event_date from {{ ref('int_event_dates__touched') }}
union
select undelivered_date as event_date from {{ ref('int_undelivery_dates__touched') }}
union
select event_date from {{ ref('int_attempts__reconsidered') }}
union
select sends.event_date
from {{ ref('fct_suppressed_sends') }} as sends
inner join {{ ref('int_suppression_addresses__changed') }} as changed
    on sends.recipient = changed.address and sends.event_at >= changed.changed_from
