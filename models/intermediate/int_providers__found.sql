-- The mailbox providers of the servers and domains that the touched messages went to: servers repeat, and the patterns see
-- each once.

with servers as (
    select distinct
        mx_host,
        {{ address_domain('recipient') }} as recipient_domain
    from {{ ref('int_delivery_events__completed') }}
)

select
    *,
    coalesce(provider_of(mx_host, recipient_domain), 'other') as provider
from servers
