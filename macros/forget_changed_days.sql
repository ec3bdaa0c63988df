{#-
    Before `rpt_delivery_daily` is brought up to date: deletes the days of which it holds other conclusions than there are by now, so
    that they are counted anew as days that it lacks are, in the same transaction.
-#}
{% macro forget_changed_days() -%}
{%- if is_incremental() -%}
{%- set columns = 'event_date, source_name, campaign_id, from_domain, sending_ip, recipient_domain, provider, undelivered_count, suppressed_send_count' -%}
delete from {{ this }}
where event_date in (
    with now_so as (
        select {{ columns }} from {{ ref('int_delivery_conclusions__counted') }}
    ),

    so_far as (
        select {{ columns }} from {{ this }}
        where undelivered_count > 0 or suppressed_send_count > 0
    )

    select event_date from (from now_so except from so_far)
    union all
    select event_date from (from so_far except from now_so)
)
{%- endif -%}
{%- endmacro %}
