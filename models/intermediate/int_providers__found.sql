-- The mailbox providers, and the classes of server that rules tell apart, of the servers and domains that the touched messages
-- went to: servers repeat, and the patterns see each once.

with servers as (
    select distinct
        mx_host,
        {{ address_domain('recipient') }} as recipient_domain
    from {{ ref('int_delivery_events__completed') }}
)

select
    *,
    coalesce(provider_of(mx_host, recipient_domain), 'other') as provider,
    mx_class_of(mx_host, recipient_domain) as mx_class
from servers
