-- Reports that came apart from the log of the message they speak of (a bounce mailbox, a feedback loop), and that message
-- where it is known.
-- Small, so it is made anew by every build: a message may be logged after the report that speaks of it.
-- depends_on: {{ ref('int_report_links__before') }}

{#- not by a step of its own: the engine would write all of it down, as it is read more than once #}
{%- set events = ref('fct_delivery_events') %}

-- a report that stands with the message's other events needs no link
with reports as (
    select * from {{ events }}
    where event_type in ('out_of_band_bounce', 'complaint')
    -- not `or`: of each of these the engine reads one column first, and the others only where it finds something
    union all
    select * from {{ events }}
    where source_name = 'dsn' and event_type not in ('out_of_band_bounce', 'complaint')
),

-- few columns: most reports of most sources stand with their message
logged_recipients as (
    select distinct message_recipient_id from {{ events }}
    where
        event_type not in ('out_of_band_bounce', 'complaint')
        and source_name <> 'dsn'
        and message_recipient_id in (select message_recipient_id from reports)
),

apart as (
    select * from reports
    where message_recipient_id not in (select message_recipient_id from logged_recipients)
),

reported_recipients as (
    select distinct recipient from apart
),

messages as (
    select
        message_recipient_id,
        message_group_id,
        source_name,
        message_id,
        recipient,
        min(envelope_sender) as envelope_sender,
        min(from_domain) as from_domain,
        min(campaign_id) as campaign_id,
        max_by(sending_ip, (event_at, event_id)) as sending_ip,
        min(event_at) as first_event_at,
        bool_or(event_type not in ('out_of_band_bounce', 'complaint') and source_name <> 'dsn') as is_logged,
        bool_or(event_type in ('bounced', 'expired') and source_name <> 'dsn') as has_failed
    from {{ events }}
    where recipient in (select recipient from reported_recipients)
    group by all
),

candidates as (
    select
        apart.event_id,
        messages.* exclude (recipient, is_logged),
        case
            when {{ message_key('apart.message_id') }} = {{ message_key('messages.message_id') }} then 'message_id'
            {%- for pattern in var('verp_patterns', []) %}
            when
                {{ regex_group('apart.envelope_sender', pattern | replace("'", "''")) }}
                = {{ message_key('messages.message_id') }}
                then 'verp'
            {%- endfor %}
            when apart.envelope_sender = messages.envelope_sender then 'return_path'
        end as linked_by
    from apart
    inner join messages
        on
            apart.recipient = messages.recipient
            and messages.is_logged
            -- reports carry whole seconds, and clocks differ
            and messages.first_event_at <= apart.event_at + interval 5 minute
),

best as (
    select * from candidates
    where linked_by is not null
    -- of several messages with one return path, the last one sent before the report
    qualify row_number() over (
        partition by event_id
        order by linked_by = 'message_id' desc, linked_by = 'verp' desc, first_event_at desc, message_recipient_id desc
    ) = 1
)

select
    apart.event_id,
    apart.source_name as report_source_name,
    apart.source_file as report_source_file,
    apart.event_date as report_date,
    apart.message_group_id as report_message_group_id,
    best.linked_by,
    best.source_name,
    best.message_group_id,
    best.message_recipient_id,
    best.message_id,
    best.envelope_sender,
    best.from_domain,
    best.campaign_id,
    best.sending_ip,
    -- the sender's own MTA writes a report too when it gives up: a notice of a refusal that its log has counted
    coalesce(best.has_failed and apart.event_type = 'out_of_band_bounce', false) as is_notice
from apart
left join best on apart.event_id = best.event_id
