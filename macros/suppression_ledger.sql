{#-
    From everything that bears on the lists (relation of the shape of `fct_suppression_causes`) to the changes of the
    lists. The commands render it too, for what administrators decided since the last run.

    Each fact that puts an address on a list holds it there from its own time until it is taken off, or until the fact
    stops counting by itself (`ends_at`: recovered, expired, delivered again). The address is on the list where any fact
    holds it, so that order of arrival cannot matter. At the same instant a removal has the last word.
-#}
{% macro replayed_ledger(causes) -%}
    with ordered as (
        select
            *,
            first_value(
                case
                    when is_removal
                        then {'ended_at': occurred_at, 'end_action': 'removed', 'ended_by': acted_by, 'end_why': why, 'end_id': cause_id}
                end ignore nulls
            ) over (
                partition by list_name, address
                order by occurred_at, is_removal, cause_id
                rows between 1 following and unbounded following
            ) as removal
        from {{ causes }}
    ),

    spans as (
        select
            * exclude (removal),
            case
                when coalesce(removal.ended_at < ends_at, ends_at is null) then removal
                else {'ended_at': ends_at, 'end_action': end_action, 'ended_by': ended_by, 'end_why': end_why, 'end_id': end_id}
            end as span_end
        from ordered
        where not is_removal
    ),

    held as (
        select
            *,
            coalesce(span_end.ended_at, timestamp 'infinity') as held_until
        from spans
    ),

    laid_out as (
        select
            *,
            coalesce(occurred_at >= max(held_until) over (
                partition by list_name, address
                order by occurred_at, event_id is null, cause_id
                rows between unbounded preceding and 1 preceding
            ), true) as is_first
        from held
        where held_until > occurred_at
    ),

    numbered as (
        select
            *,
            count_if(is_first) over (
                partition by list_name, address
                order by occurred_at, event_id is null, cause_id
            ) as stay
        from laid_out
    ),

    ends as (
        select
            list_name,
            address,
            any_value(recipient_domain) as recipient_domain,
            max_by(span_end, (held_until, cause_id)) as last_end
        from numbered
        group by list_name, address, stay
        having max(held_until) < timestamp 'infinity'
    )

    select
        list_name,
        cause_id as suppression_event_id,
        address,
        recipient_domain,
        occurred_at,
        case cause when 'import' then 'imported' else 'added' end as action,
        acted_by,
        why,
        cause,
        event_id,
        source_name,
        campaign_id,
        text_id,
        reason,
        rule_id
    from numbered
    where is_first
    union all
    select
        list_name,
        last_end.end_id as suppression_event_id,
        address,
        recipient_domain,
        last_end.ended_at as occurred_at,
        last_end.end_action as action,
        last_end.ended_by as acted_by,
        last_end.end_why as why,
        null as cause,
        null as event_id,
        null as source_name,
        null as campaign_id,
        null as text_id,
        null as reason,
        null as rule_id
    from ends
{%- endmacro %}

{#- The last change of each address in a ledger: at the same instant an end comes before the next begin. -#}
{% macro is_last_change() -%}
    row_number() over (
        partition by address
        order by occurred_at desc, action in ('added', 'imported') desc, suppression_event_id desc
    ) = 1
{%- endmacro %}

{#- What administrators decided of addresses (relation of the shape of `stg_actions__actions`) as causes. -#}
{% macro action_causes(actions) -%}
    select
        list_name,
        {{ digest(["'action'", 'action_id']) }} as cause_id,
        address,
        {{ address_domain('address') }} as recipient_domain,
        acted_at as occurred_at,
        case action when 'import' then 'import' else 'administrator' end as cause,
        action = 'remove' as is_removal,
        acted_by,
        why
    from {{ actions }}
    where action <> 'recover' and address is not null
{%- endmacro %}

{#-
    Whether a recovery (of the shape of `stg_actions__actions`) disregards a hard bounce (of the shape of `fct_bounces`,
    with its `provider`). Bounces out of band come back hours and days after the wave that they belong to.
-#}
{% macro matches_recovery(event, recovery) -%}
    {{ event }}.event_at >= {{ recovery }}.from_at
    and {{ event }}.event_at < {{ recovery }}.until_at + case
        when {{ event }}.event_type = 'out_of_band_bounce' then coalesce({{ recovery }}.margin_hours, 0) else 0
    end * interval 1 hour
    and coalesce({{ event }}.recipient_domain = {{ recovery }}.recipient_domain, {{ recovery }}.recipient_domain is null)
    and coalesce({{ event }}.provider = {{ recovery }}.provider, {{ recovery }}.provider is null)
    and coalesce({{ event }}.reason = {{ recovery }}.bounce_reason, {{ recovery }}.bounce_reason is null)
    and coalesce(
        regexp_matches({{ event }}.response_text, '(?is)' || {{ recovery }}.pattern), {{ recovery }}.pattern is null
    )
{%- endmacro %}
