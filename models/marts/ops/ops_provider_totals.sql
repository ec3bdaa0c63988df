with totals as (
    select
        source_name,
        event_date,
        figure,
        sum(provider_count) as provider_count
    from {{ source('landing', 'provider_totals') }}
    group by all
),

daily as (
    select * from {{ ref('rpt_delivery_daily') }}
    where event_date in (select event_date from totals)
),

measured as (
    select
        source_name,
        event_date,
        unnest([
            { 'figure': 'injected_count', 'own_count': sum(injected_count) },
            { 'figure': 'attempt_count', 'own_count': sum(attempt_count) },
            { 'figure': 'delivered_count', 'own_count': sum(delivered_count) },
            { 'figure': 'deferred_count', 'own_count': sum(deferred_count) },
            { 'figure': 'bounced_count', 'own_count': sum(bounced_count) },
            { 'figure': 'expired_count', 'own_count': sum(expired_count) },
            { 'figure': 'dropped_count', 'own_count': sum(dropped_count) },
            { 'figure': 'out_of_band_bounce_count', 'own_count': sum(out_of_band_bounce_count) },
            { 'figure': 'complaint_count', 'own_count': sum(complaint_count) }
        ]) as measure
    from daily
    group by source_name, event_date
)

select
    totals.source_name,
    totals.event_date,
    totals.figure,
    cast(totals.provider_count as bigint) as provider_count,
    cast(coalesce(measured.measure.own_count, 0) as bigint) as own_count,
    cast(coalesce(measured.measure.own_count, 0) - totals.provider_count as bigint) as difference_count
from totals
left join measured
    on
        totals.source_name = measured.source_name
        and totals.event_date = measured.event_date
        and totals.figure = measured.measure.figure
