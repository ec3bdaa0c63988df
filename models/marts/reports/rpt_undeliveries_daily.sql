select
    undelivered_date,
    source_name,
    campaign_id,
    from_domain,
    sending_ip,
    recipient_domain,
    cause,
    bounce_class,
    text_id,
    reason,
    count(*) as undelivery_count
from {{ ref('fct_non_deliveries') }}
group by all
