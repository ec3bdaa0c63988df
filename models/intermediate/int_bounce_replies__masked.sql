-- The bounce text of every refused event of the touched groups: its reply with what varies masked. Replies repeat, so
-- the recipient is taken out of each, and the costly patterns see each distinct reply once.

with refused as (
    select
        event_id,
        message_group_id,
        mask_recipient(coalesce(response_text, ''), recipient) as reply,
        mx_host,
        {{ address_domain('recipient') }} as recipient_domain
    from {{ ref('int_delivery_events__completed') }}
    where event_type in ('deferred', 'bounced', 'expired', 'dropped', 'out_of_band_bounce')
),

distinct_replies as (
    select distinct reply from refused
),

masked as (
    select
        reply,
        coalesce(nullif(mask_reply(reply), ''), '(no reply logged)') as bounce_text
    from distinct_replies
)

select
    refused.event_id,
    refused.message_group_id,
    masked.bounce_text,
    providers.mx_class,
    {{ digest(['masked.bounce_text', 'providers.mx_class']) }} as judgement_id
from refused
inner join masked on refused.reply = masked.reply
inner join {{ ref('int_providers__found') }} as providers
    on
        refused.recipient_domain is not distinct from providers.recipient_domain
        and refused.mx_host is not distinct from providers.mx_host
