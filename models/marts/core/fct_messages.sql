-- depends_on: {{ ref('int_undeliveries__before') }}
-- depends_on: {{ ref('int_logged_days__found') }}
-- depends_on: {{ ref('int_message_dates__replaced') }}
{{ config(
    materialized='incremental',
    touched={'column': 'message_group_id', 'model': 'int_message_groups__replaced'},
    days={'column': 'first_event_date', 'model': 'int_message_dates__replaced'},
    spread_by='message_group_id',
    order_by='first_event_at',
) }}

with open_groups as (
    select message_group_id from {{ ref('int_message_groups__replaced') }}
),

links as (
    select * from {{ ref('int_report_links__found') }}
    where linked_by is not null
),

{% if is_rebuilt() -%}
logged_events as not materialized (
    select * from {{ ref('fct_delivery_events') }}
),
{%- else -%}
-- those of the groups, and of reports that speak of them
read_groups as (
    select message_group_id from open_groups
    union
    select report_message_group_id as message_group_id from links
    where message_group_id in (select message_group_id from open_groups)
),

-- on all other days nothing has to be read
read_days as (
    select event_date from {{ ref('int_judged_days__touched') }}
    union
    select report_date as event_date from links
    where message_group_id in (select message_group_id from open_groups)
    union
    select event_date from {{ ref('int_logged_days__found') }}
    where not is_touched
),

logged_events as (
    select events.*
    from {{ ref('fct_delivery_events') }} as events
    inner join read_days on events.event_date = read_days.event_date
    inner join read_groups on events.message_group_id = read_groups.message_group_id
),
{%- endif %}

reports as (
    {{ reports_among('logged_events') }}
),

-- Nearly all events are no reports, and joined to nothing: of these the engine reads the groups of a share, and no others.
-- A report that came apart counts for the message it speaks of.
attributed_events as (
    select
        *,
        false as is_linked,
        false as is_notice
    from logged_events
    where not {{ is_report() }}
    union all by name
    select
        reports.* replace (
            coalesce(links.source_name, reports.source_name) as source_name,
            coalesce(links.message_group_id, reports.message_group_id) as message_group_id,
            coalesce(links.message_recipient_id, reports.message_recipient_id) as message_recipient_id,
            -- the message's, even where that has none: what the report calls it is no second message
            case when links.event_id is null then reports.message_id else links.message_id end as message_id,
            coalesce(links.envelope_sender, reports.envelope_sender) as envelope_sender,
            coalesce(links.from_domain, reports.from_domain) as from_domain,
            coalesce(links.campaign_id, reports.campaign_id) as campaign_id,
            coalesce(links.sending_ip, reports.sending_ip) as sending_ip
        ),
        links.event_id is not null as is_linked,
        coalesce(links.is_notice, false) as is_notice
    from reports
    left join links on reports.event_id = links.event_id
),

events as (
    select
        *,
        -- made once for all that is chosen by it
        create_sort_key(event_at, 'asc nulls last', event_id, 'asc nulls last') as event_order
    from attributed_events
    {% if not is_rebuilt() -%}
    -- the other events of a group that is read for a report are none of a message that is judged
    where message_group_id in (select message_group_id from open_groups)
    {%- endif %}
),

rules as (
    select
        source_name,
        campaign_id,
        {
            'retry_count': retry_count,
            'interval_minutes': interval_minutes,
            'growth': growth,
            'exponent': exponent,
            'modifier': modifier,
            'lifetime_hours': lifetime_hours
        } as rule
    from {{ ref('resend_rules') }}
),

progress as (
    select * from {{ ref('int_sources__progress') }}
),

-- one pass over the events of each message and recipient
summarised as (
    select
        message_recipient_id,
        message_group_id,
        -- the id tells these, and so does each of the events
        any_value(source_name) as source_name,
        any_value(message_id) as message_id,
        any_value(recipient) as recipient,
        any_value(recipient_domain) as recipient_domain,
        coalesce(max_by(provider, event_order) filter (mx_host is not null), max_by(provider, event_order)) as provider,
        min_by(envelope_sender, event_order) as envelope_sender,
        min_by(from_domain, event_order) as from_domain,
        min_by(campaign_id, event_order) as campaign_id,
        max_by(sending_ip, event_order) as sending_ip,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        min(event_at) filter (is_attempt) as first_attempt_at,
        max(event_at) filter (is_attempt) as last_attempt_at,
        cast(greatest(count(*) filter (is_attempt), coalesce(max(attempt_number), 0)) as integer) as attempt_count,
        cast(count(*) filter (is_attempt and event_type = 'deferred') as integer) as deferral_count,
        min(event_at) filter (event_type = 'delivered') as delivered_at,
        bool_or(event_type = 'complaint') as has_complaint,
        bool_or(is_linked) as has_linked_report,
        bool_or(event_type = 'injected') as has_injection,
        bool_or(event_type = 'deferred' and source_name <> 'dsn') as has_deferral,
        max(event_at) filter (event_type = 'delivered') as last_delivered_at,
        {%- set said = ['event_id', 'event_type', 'event_at', 'text_id', 'reason', 'bounce_class', 'response_text'] %}
        max_by(
            {
                {%- for column in said %}
                '{{ column }}': {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            },
            event_order
        ) filter (
            event_type in ('bounced', 'expired', 'dropped', 'out_of_band_bounce')
            -- a notice says again, later, what the log had said
            and not is_notice
        ) as last_refusal,
        max_by(
            {
                {%- for column in said %}
                '{{ column }}': {{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            },
            event_order
        ) filter (event_type = 'deferred') as last_deferral
    from events
    group by message_recipient_id, message_group_id
),

-- the most particular rule: source and campaign, source, campaign, default
with_rules as (
    select
        summarised.*,
        -- the last final event decides; at the same instant a refusal outweighs an acceptance
        coalesce(
            summarised.last_refusal.event_at >= summarised.last_delivered_at, summarised.last_refusal is not null
        ) as is_refused,
        progress.data_through_at,
        coalesce(of_both.rule, of_source.rule, of_campaign.rule, of_all.rule) as rule
    from summarised
    inner join progress on summarised.source_name = progress.source_name
    left join rules as of_both
        on summarised.source_name = of_both.source_name and summarised.campaign_id = of_both.campaign_id
    left join rules as of_source on summarised.source_name = of_source.source_name and of_source.campaign_id = '*'
    left join rules as of_campaign on of_campaign.source_name = '*' and summarised.campaign_id = of_campaign.campaign_id
    inner join rules as of_all on of_all.source_name = '*' and of_all.campaign_id = '*'
),

judged as (
    select
        *,
        first_event_at + rule.lifetime_hours * interval 1 hour as lifetime_ends_at,
        case rule.growth
            when 'geometric' then pow(rule.exponent, attempt_count - 1)
            -- the interval is drawn up to `rule.modifier` longer: the latest moment
            when 'random' then 1 + rule.modifier
            else 1
        end as growth_factor,
        case
            -- whoever complains has got it
            when is_refused or last_delivered_at is not null or has_complaint then null
            when attempt_count > rule.retry_count then 'retries_used_up'
            when first_event_at + rule.lifetime_hours * interval 1 hour > data_through_at then null
            when has_deferral then 'lifetime_passed'
            -- a report alone, of a message that no log has, tells of no end
            when has_injection then 'undefined'
        end as time_cause
    from with_rules
),

decided as (
    select
        *,
        case
            when not is_refused and (last_delivered_at is not null or has_complaint) then 'delivered'
            when is_refused or time_cause is not null then 'undelivered'
            else 'in_flight'
        end as outcome,
        case
            when not is_refused then time_cause
            when last_refusal.event_type in ('bounced', 'out_of_band_bounce') and last_refusal.bounce_class = 'hard'
                then 'hard_bounce'
            -- the sender's software gave up on a reply that asked it to try again
            when last_refusal.event_type in ('bounced', 'out_of_band_bounce', 'expired') then 'expired'
            when last_refusal.event_type = 'dropped' then 'dropped'
        end as cause,
        -- all that is said of it comes from one event
        case when is_refused then last_refusal else last_deferral end as deciding_event
    from judged
),

concluded as (
    select
        *,
        case
            when outcome <> 'undelivered' then null
            when time_cause in ('lifetime_passed', 'undefined') then lifetime_ends_at
            else deciding_event.event_at
        end as undelivered_at
    from decided
)

select
    message_recipient_id,
    source_name,
    message_group_id,
    message_id,
    recipient,
    recipient_domain,
    provider,
    envelope_sender,
    from_domain,
    sending_ip,
    campaign_id,
    outcome,
    cause,
    first_event_at,
    cast(first_event_at as date) as first_event_date,
    first_attempt_at,
    last_attempt_at,
    last_event_at,
    attempt_count,
    deferral_count,
    case when outcome = 'delivered' then delivered_at end as delivered_at,
    case
        when outcome = 'delivered' then cast(epoch(delivered_at) - epoch(first_event_at) as bigint)
    end as seconds_to_delivery,
    undelivered_at,
    cast(undelivered_at as date) as undelivered_date,
    case
        when outcome = 'in_flight'
            -- doubled sixty times it is beyond all numbers: ten years are as good as never
            then
                last_attempt_at
                + interval 1 second * cast(least(round(60 * rule.interval_minutes * growth_factor), 315360000) as bigint)
    end as next_resend_at,
    has_complaint,
    has_linked_report,
    case when outcome = 'undelivered' then deciding_event.event_id end as deciding_event_id,
    case when outcome = 'undelivered' then deciding_event.text_id end as text_id,
    case when outcome = 'undelivered' then deciding_event.reason end as reason,
    case when outcome = 'undelivered' then deciding_event.bounce_class end as bounce_class,
    case when outcome = 'undelivered' then deciding_event.response_text end as response_text
from concluded
