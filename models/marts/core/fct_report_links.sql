select
    event_id,
    report_source_name,
    report_date,
    linked_by,
    source_name,
    message_recipient_id,
    message_id,
    envelope_sender,
    from_domain,
    campaign_id,
    sending_ip,
    is_notice
from {{ ref('int_report_links__found') }}
