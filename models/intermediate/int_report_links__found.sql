-- Reports that came apart from the log of the message they speak of (a bounce mailbox, a feedback loop), and that message
-- where it is known. A message may be logged after the report that speaks of it. So where this build carries on from the
-- last one, a report that was known is held against the touched messages, too; new reports, and those whose message was itself
-- touched, are held against all messages that they may name (int_message_keys__logged).
-- depends_on: {{ ref('int_logged_days__touched') }}
-- depends_on: {{ ref('int_message_groups__touched') }}
-- depends_on: {{ ref('int_report_links__before') }}

{#- not by a step of its own: the engine would write all of it down, as it is read more than once #}
{%- set events = ref('fct_delivery_events') %}
{%- set touched = ref('int_message_groups__touched') %}
{%- set is_carried_on = is_continued() %}

{#- what is kept of a report, and of the message that it is linked to, for the next build #}
{%- set report_columns = [
    'event_id', 'report_source_name', 'report_source_file', 'report_date', 'report_at', 'report_event_type',
    'report_message_group_id', 'report_recipient', 'report_message_id', 'report_envelope_sender',
] %}
{%- set link_columns = [
    'source_name', 'message_group_id', 'message_recipient_id', 'message_id', 'envelope_sender', 'from_domain', 'campaign_id',
    'sending_ip', 'first_event_at', 'has_failed', 'linked_by',
] %}

{#- `noqa`: the linter reads one side of these conditions only #}
with {% if is_carried_on -%}
touched_events as (  -- noqa: ST03
    select * from {{ events }}
    where
        event_date in (select event_date from {{ ref('int_logged_days__touched') }})
        and message_group_id in (select message_group_id from {{ touched }})
),

-- those whose own group was touched are found again
known as (  -- noqa: ST03
    select
        *,
        coalesce(message_group_id in (select message_group_id from {{ touched }}), false) as is_link_touched
    from {{ ref('int_report_links__before') }}
    where report_message_group_id not in (select message_group_id from {{ touched }})
),

{% endif -%}
-- a report that stands with the message's other events needs no link
reports as (
    {{ reports_among('touched_events' if is_carried_on else events) }}
),

-- few columns: most reports of most sources stand with their message
logged_recipients as (
    select distinct message_recipient_id from {{ 'touched_events' if is_carried_on else events }}
    where
        not {{ is_report() }}
        and message_recipient_id in (select message_recipient_id from reports)
),

searched as (
    select
        event_id,
        source_name as report_source_name,
        source_file as report_source_file,
        event_date as report_date,
        event_at as report_at,
        event_type as report_event_type,
        message_group_id as report_message_group_id,
        recipient as report_recipient,
        message_id as report_message_id,
        envelope_sender as report_envelope_sender
    from reports
    where message_recipient_id not in (select message_recipient_id from logged_recipients)
    {%- if is_carried_on %}
    union all
    select {{ report_columns | join(', ') }} from known
    where is_link_touched
    {%- endif %}
),

names as (
    select {{ report_key('report_recipient', message_key('report_message_id')) }} as message_id_key
    from searched
    {%- for pattern in var('verp_patterns', []) %}
    union all
    select {{ report_key('report_recipient', verp_id('report_envelope_sender', pattern)) }} as message_id_key
    from searched
    {%- endfor %}
),

return_paths as (
    select {{ report_key('report_recipient', 'report_envelope_sender') }} as return_path_key from searched
),

-- First the days, then the groups on these: in all history the engine reads the numbers that are compared, no groups, which are
-- wider. Not by `or`: each number is a column of its own.
key_days as (
    select event_date from {{ ref('int_message_keys__logged') }}
    where message_id_key in (select message_id_key from names)
    union
    select event_date from {{ ref('int_message_keys__logged') }}
    where return_path_key in (select return_path_key from return_paths)
),

named_groups as (
    select message_group_id from {{ ref('int_message_keys__logged') }}
    where
        event_date in (select event_date from key_days)
        and message_id_key in (select message_id_key from names)
    union
    select message_group_id from {{ ref('int_message_keys__logged') }}
    where
        event_date in (select event_date from key_days)
        and return_path_key in (select return_path_key from return_paths)
),

named_days as (
    {{ days_of_groups('named_groups') }}
),

named_events as (
    select * from {{ events }}
    where
        event_date in (select event_date from named_days)
        and message_group_id in ({{ listed('message_group_id', 'named_groups') }})
),

messages as (
    {{ reported_messages('named_events', 'searched') }}
),

{% if is_carried_on -%}
compared as (
    select * from known
    where not is_link_touched
),

touched_messages as (
    {{ reported_messages('touched_events', 'compared') }}
),

{% endif -%}
apart as (
    select * from searched
    {%- if is_carried_on %}
    union all
    select {{ report_columns | join(', ') }} from compared
    {%- endif %}
),

candidates as (
    {{ possible_links('messages', 'searched') }}
    {%- if is_carried_on %}
    union all by name
    {{ possible_links('touched_messages', 'compared') }}
    union all by name
    select event_id, {{ link_columns | join(', ') }} from compared
    {%- endif %}
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
    {%- for column in report_columns %}
    apart.{{ column }},
    {%- endfor %}
    {%- for column in link_columns %}
    best.{{ column }},
    {%- endfor %}
    -- the sender's own MTA writes a report too when it gives up: a notice of a refusal that its log has counted
    coalesce(best.has_failed and apart.report_event_type = 'out_of_band_bounce', false) as is_notice
from apart
left join best on apart.event_id = best.event_id
