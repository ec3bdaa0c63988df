"""Amazon SES: event publishing through Firehose and through SNS, and the older identity notifications.

A message's carrier is drawn: most go to Firehose (gzipped JSON lines below `YYYY/MM/DD/HH/`), some to an SNS topic,
some belong to an identity without a configuration set, notified of bounces, complaints and deliveries, without tags.
"""

from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import Day

DIGEST = "md5('ses:' || message_number)"
MESSAGE_ID = f"'0100' || {DIGEST}[:12] || '-' || {DIGEST}[13:20] || '-' || {DIGEST}[21:32] || '-000000'"
CARRIER = (
    "case when message_number % 29 = 11 then 'identity' when message_number % 13 = 5 then 'sns' else 'firehose' end"
)
IS_PUBLISHED = f"({CARRIER} <> 'identity' or event_type not in ('injected', 'deferred') and fate <> 'content_rejected')"

EVENT_KIND = """
    case event_type
        when 'injected' then 'Send'
        when 'delivered' then 'Delivery'
        when 'deferred' then 'DeliveryDelay'
        when 'complaint' then 'Complaint'
        else case when fate = 'content_rejected' then 'Reject' else 'Bounce' end
    end
"""

MILLISECONDS = "'%Y-%m-%dT%H:%M:%S.%gZ'"

# Copies of a record: itself, the same delivered again, the same through SNS too, and what the reader did.
ITSELF, AGAIN, BY_SNS_TOO, OPENED, CLICKED = range(5)

COPIES = f"""
    case
        when event_type = 'delivered' and drawn % 19 = 3 then [{ITSELF}, {OPENED}, {CLICKED}]
        when event_type = 'delivered' and drawn % 5 = 1 then [{ITSELF}, {OPENED}]
        when drawn % 197 = 3 then [{ITSELF}, {AGAIN}]
        when drawn % 211 = 9 and {CARRIER} = 'firehose' then [{ITSELF}, {BY_SNS_TOO}]
        else [{ITSELF}]
    end
"""

MAIL_SQL = f"""
    '{{"timestamp":"' || strftime(injected_at, {MILLISECONDS})
    || '","source":' || to_json(from_name || ' <' || from_address || '>')
    || ',"sourceArn":"arn:aws:ses:eu-central-1:123456789012:identity/' || from_domain
    || '","sendingAccountId":"123456789012","messageId":"' || {MESSAGE_ID}
    || '","destination":' || to_json(destination)
    || ',"headersTruncated":false'
    || case when kind = 'DeliveryDelay' then '' else
        ',"headers":[{{"name":"From","value":' || to_json(from_name || ' <' || from_address || '>')
        || '}},{{"name":"To","value":' || to_json(array_to_string(destination, ', '))
        || '}},{{"name":"Subject","value":' || to_json(subject)
        || '}},{{"name":"MIME-Version","value":"1.0"}}],"commonHeaders":{{"from":['
        || to_json(from_name || ' <' || from_address || '>') || '],"to":' || to_json(destination)
        || ',"messageId":"' || {MESSAGE_ID} || '","subject":' || to_json(subject) || '}}'
    end
    || case when carrier = 'identity' then ',"sourceIp":"192.0.2.80"' else
        ',"tags":{{"ses:configuration-set":["delivery-events"],"ses:source-ip":["192.0.2.80"],"ses:from-domain":["'
        || from_domain || '"],"ses:caller-identity":["mailer"]'
        || case when kind = 'Delivery' then ',"ses:outgoing-ip":["' || sending_ip || '"]' else '' end
        || case when campaign_id is not null then ',"campaign":["' || campaign_id || '"]' else '' end
        || '}}'
    end
    || '}}'
"""

# SES calls a refusal transient where it believes that the address may still be good, whatever the reply's code.
BOUNCE_TYPE = """
    case
        when fate in (
            'user_unknown', 'mailbox_inactive', 'no_such_domain', 'no_mail_domain', 'out_of_band_bounce', 'suppressed'
        ) then 'Permanent'
        else 'Transient'
    end
"""
BOUNCE_SUBTYPE = """
    case fate
        when 'suppressed' then 'OnAccountSuppressionList'
        when 'mailbox_full_refused' then 'MailboxFull'
        when 'mailbox_full_expired' then 'MailboxFull'
        when 'message_too_large' then 'MessageTooLarge'
        when 'spam_content' then 'ContentRejected'
        else 'General'
    end
"""
DELAY_TYPE = """
    case fate
        when 'mailbox_full_expired' then 'MailboxFull'
        when 'reputation_deferred' then 'IPFailure'
        when 'unreachable' then 'TransientCommunicationFailure'
        when 'unreachable_expired' then 'TransientCommunicationFailure'
        when 'overloaded' then 'RecipientServerError'
        else 'General'
    end
"""

DIAGNOSTIC = """
    to_json(case
        when origin = 'vendor' then text
        else 'smtp; ' || concat_ws(' ', code, enhanced_code, replace(text, chr(10), ' '))
    end)
"""
STATUS = "coalesce(enhanced_code, code[1] || '.0.0')"

DETAIL_SQL = f"""
    case kind
        when 'Send' then '{{}}'
        when 'Reject' then '{{"reason":' || to_json(text) || '}}'
        when 'Delivery' then
            '{{"timestamp":"' || at_text || '","processingTimeMillis":' || epoch_ms(event_at - injected_at)
            || ',"recipients":' || to_json(record_recipients) || ',"smtpResponse":' || to_json(reply)
            || case when carrier = 'identity' then ',"remoteMtaIp":"' || mx_ip || '"' else '' end
            || ',"reportingMTA":"a' || host_number || '-7.smtp-out.example"}}'
        when 'DeliveryDelay' then
            '{{"timestamp":"' || at_text || '","delayType":"' || {DELAY_TYPE} || '","expirationTime":"'
            || strftime(injected_at + interval 36 hours, {MILLISECONDS})
            || '","delayedRecipients":[' || array_to_string(list_transform(record_recipients, lambda address:
                '{{"emailAddress":' || to_json(address) || ',"status":"' || {STATUS} || '","diagnosticCode":'
                || {DIAGNOSTIC} || '}}'), ',')
            || ']}}'
        when 'Bounce' then
            '{{"feedbackId":"0100' || token[:20] || '-000000","bounceType":"' || {BOUNCE_TYPE} || '","bounceSubType":"'
            || {BOUNCE_SUBTYPE} || '","bouncedRecipients":[' || array_to_string(list_transform(record_recipients,
                lambda address: '{{"emailAddress":' || to_json(address) || ',"action":"failed","status":"' || {STATUS}
                || '","diagnosticCode":' || {DIAGNOSTIC} || '}}'), ',')
            || '],"timestamp":"' || at_text || '","reportingMTA":"dns; a' || host_number || '-7.smtp-out.example"}}'
        when 'Complaint' then
            '{{"feedbackId":"0100' || token[:20] || '-000000","complainedRecipients":['
            || array_to_string(list_transform(record_recipients, lambda address:
                '{{"emailAddress":' || to_json(address) || '}}'), ',')
            || '],"timestamp":"' || at_text || '","complaintFeedbackType":"abuse","userAgent":"' || domain
            || '-fbl/2.1","arrivalDate":"' || at_text || '"}}'
        when 'Open' then
            '{{"ipAddress":"198.51.100.230","timestamp":"' || at_text || '","userAgent":"Mozilla/5.0"}}'
        when 'Click' then
            '{{"ipAddress":"198.51.100.230","link":"https://www.' || from_domain || '/offer","timestamp":"' || at_text
            || '","userAgent":"Mozilla/5.0"}}'
    end
"""


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write Firehose keys by stretches of hours; every third day's objects run together without a newline."""
    return write_records(connection, records_sql(day), directory)


def records_sql(day: Day) -> str:
    """Select what `write_records` writes of one day."""
    hours = day.hours_a_file
    separator = "''" if day.number % 3 == 2 else "chr(10)"
    uuid = "%s[:8] || '-' || %s[9:12] || '-' || %s[13:16] || '-' || %s[17:20] || '-' || %s[21:32]"
    envelope_id = uuid.replace("%s", "md5('sns:' || token || copy)")
    object_id = uuid.replace("%s", "md5('firehose:' || stretch)")
    return f"""
        with published as (
            select * from today where {IS_PUBLISHED}
        ),

        exchanges as (
            select
                message_number, step, min(recipient_number) as recipient_number,
                list(recipient order by recipient_number) as record_recipients,
            from published
            where recipients > 1
            group by
                message_number, step, case when event_type <> 'injected' then receiver_id end, event_type, event_at,
                reply
        ),

        grouped as (
            select *, [recipient] as record_recipients from published where recipients = 1
            union all
            select published.*, record_recipients
            from published
            inner join exchanges using (message_number, step, recipient_number)
        ),

        copied as (
            select
                * replace (
                    event_at + to_minutes(case when copy in ({OPENED}, {CLICKED}) then copy::int * 2 + 5 else 0 end)
                        as event_at
                ),
                event_at as carried_at,
            from (select *, unnest({COPIES}) as copy from grouped)
        ),

        kinds as (
            select
                *,
                case copy when {OPENED} then 'Open' when {CLICKED} then 'Click' else {EVENT_KIND} end as kind,
                case copy when {BY_SNS_TOO} then 'sns' else {CARRIER} end as carrier,
                strftime(event_at, {MILLISECONDS}) as at_text,
                strftime(
                    date_trunc('day', carried_at) + to_hours((hour(carried_at) // {hours} * {hours})::int),
                    '%Y-%m-%d-%H-00-00'
                ) as stretch,
            from copied
            where {CARRIER} <> 'identity' or copy = {ITSELF}
        ),

        objects as (
            select
                *,
                '{{"' || case when carrier = 'identity' then 'notificationType' else 'eventType' end || '":"' || kind
                    || '","mail":' || {MAIL_SQL} || ',"' || lower(kind[1]) || kind[2:] || '":' || {DETAIL_SQL} || '}}'
                    as object
            from kinds
        )

        select
            case carrier
                when 'firehose' then 'firehose/' || replace(stretch[:13], '-', '/') || '/ses-events-1-' || stretch
                    || '-' || {object_id} || '.gz'
                when 'sns' then 'sns/ses-events-' || strftime(date '{day.date}', '%Y-%m-%d') || '.jsonl.gz'
                else 'identity/notifications-' || strftime(date '{day.date}', '%Y-%m-%d') || '.jsonl'
            end as file_name,
            0 as part,
            case carrier
                when 'firehose' then object || {separator}
                when 'sns' then to_json({{
                    'Type': 'Notification',
                    'MessageId': {envelope_id},
                    'TopicArn': 'arn:aws:sns:eu-central-1:123456789012:ses-events',
                    'Subject': 'Amazon SES Email Event Notification',
                    'Message': object,
                    'Timestamp': at_text,
                    'SignatureVersion': '1'
                }})::varchar || chr(10)
                else object || chr(10)
            end as record,
        from objects
        order by file_name, event_at, message_number, step, recipient_number, copy
    """


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type,
        -- A rejection has no time of its own.
        case when fate = 'content_rejected' then date_trunc('milliseconds', injected_at) else event_at end as event_at,
        true as is_attempt, origin, code, enhanced_code,
        case when origin = 'local' then concat_ws(' ', code, enhanced_code, text) else reply end as reply, from_domain,
        case when {CARRIER} <> 'identity' then campaign_id end as campaign_id,
        case when {CARRIER} <> 'identity' and event_type = 'delivered' then sending_ip end as sending_ip,
    from today
    where {IS_PUBLISHED}
"""
