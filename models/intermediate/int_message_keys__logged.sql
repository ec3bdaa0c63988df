-- By what a message that was logged is looked for in all of history: its recipient, whose listing may change long after, and by
-- what a report that came apart may name it, its recipient with its id, and with its return path, each as a number. It is looked
-- for here, in some bytes of each, and not in the facts. Two messages may share a number: what is found is compared as text.

{{ config(
    materialized='incremental',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__touched'},
    days={'column': 'event_date', 'model': 'int_logged_days__touched'},
    spread_by='message_group_id',
    order_by='event_date',
) }}

with messages as (
    select
        event_date,
        message_group_id,
        envelope_sender,
        -- message_recipient_id tells these
        any_value(recipient) as recipient,
        any_value(message_id) as message_id
    from {{ ref('fct_delivery_events') }}
    where
        not {{ is_report() }}
        and recipient is not null
        {%- if not is_rebuilt() %}
        and event_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ ref('int_message_groups__touched') }})
        {%- endif %}
    group by event_date, message_group_id, message_recipient_id, envelope_sender
)

select
    event_date,
    message_group_id,
    {{ recipient_key('recipient') }} as recipient_key,
    {{ report_key('recipient', message_key('message_id')) }} as message_id_key,
    {{ report_key('recipient', 'envelope_sender') }} as return_path_key
from messages
