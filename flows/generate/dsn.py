"""A bounce mailbox: what came back by mail about messages that Postfix, Exim and PowerMTA had delivered.

Reports of failure as several mailers write them (RFC 3464, some as prose alone), complaints (RFC 5965) and automatic
answers, in an mbox a day, a few as single files and in a Maildir. What a report returns of the original says which
message it means: its header, the envelope id that PowerMTA knows it by, or nothing but the return path.
"""

from pathlib import Path

import duckdb

from flows.generate import exim, postfix, powermta
from flows.generate.files import write_records
from flows.generate.history import Day

FILES_A_DAY = 40
"""Of so many mails a day some are files of their own; of more, each file would be too much for any disk."""

ORIGINAL_ID = f"""
    case sender
        when 'postfix' then {postfix.DIGEST}[:20] || '@' || from_domain
        when 'exim' then {exim.MESSAGE_ID}
        else {powermta.ENVELOPE_ID} || '@app1.' || from_domain
    end
"""

STYLE = """
    case
        when event_type = 'complaint' then 'complaint'
        when event_type = 'auto_reply' then 'answer'
        when server = 'exim' then 'exim'
        when server = 'exchange' then 'exchange'
        else ['postfix', 'postfix', 'exchange', 'exim', 'qmail'][1 + ((drawn >> 24::ubigint) % 5)::int]
    end
"""
# PowerMTA knows its message by the envelope id, which only a mailer that keeps to RFC 3461 repeats.
HAS_ENVELOPE_ID = "(sender = 'powermta' and style in ('postfix', 'exchange'))"
HAS_HEADER = "not (style in ('exchange', 'complaint') and (drawn >> 32::ubigint) % 3 = 1)"

MAILER = "'mail.' || domain"
REPORT_ID = f"token[:24] || '@' || {MAILER}"
BOUNDARY = "'=_' || token[5:24]"
DATE = "strftime(%s + to_hours(zone), '%%a, %%d %%b %%Y %%H:%%M:%%S +0') || zone || '00'"
EVENT_DATE = DATE % "event_at"
INJECTED_DATE = DATE % "injected_at"

HEADER = f"""
    'Return-Path: <' || envelope_sender || '>' || chr(10)
    || 'Message-ID: <' || {ORIGINAL_ID} || '>' || chr(10)
    || 'From: ' || from_name || ' <' || from_address || '>' || chr(10)
    || 'To: <' || recipient || '>' || chr(10)
    || 'Subject: ' || subject || chr(10)
    || coalesce('X-Campaign: ' || campaign_id || chr(10), '')
    || 'Date: ' || {INJECTED_DATE} || chr(10)
    || 'MIME-Version: 1.0' || chr(10)
"""

STATUS = f"""
    'Reporting-MTA: dns; ' || {MAILER} || chr(10)
    || case when {HAS_ENVELOPE_ID} then 'Original-Envelope-Id: ' || {powermta.ENVELOPE_ID} || chr(10) else '' end
    || case when style = 'postfix' then
        'X-Postfix-Queue-ID: 4' || upper(token[12:20]) || chr(10)
        || 'X-Postfix-Sender: rfc822; ' || envelope_sender || chr(10)
    else '' end
    || 'Arrival-Date: ' || {INJECTED_DATE} || chr(10) || chr(10)
    || 'Final-Recipient: rfc822; ' || recipient || chr(10)
    || case when style = 'postfix' then 'Original-Recipient: rfc822;' || recipient || chr(10) else '' end
    || 'Action: failed' || chr(10)
    || 'Status: ' || enhanced_code || chr(10)
    || 'Remote-MTA: dns; ' || tried_host || chr(10)
    || 'Diagnostic-Code: smtp; ' || code || ' ' || enhanced_code || chr(10) || '    ' || text || chr(10)
    || 'Last-Attempt-Date: ' || {EVENT_DATE} || chr(10)
"""

FEEDBACK = f"""
    'Feedback-Type: abuse' || chr(10)
    || 'User-Agent: ' || domain || '-fbl/2.1' || chr(10)
    || 'Version: 1' || chr(10)
    || case when (drawn >> 36::ubigint) % 3 = 2 then ''
        else 'Original-Mail-From: <' || envelope_sender || '>' || chr(10) end
    || 'Original-Rcpt-To: <' || recipient || '>' || chr(10)
    || 'Arrival-Date: ' || {INJECTED_DATE} || chr(10)
    || 'Source-IP: ' || sending_ip || chr(10)
    || 'Reported-Domain: ' || from_domain || chr(10)
"""

HUMAN = f"""
    case style
        when 'postfix' then 'This is the mail system at host ' || {MAILER} || '.' || chr(10) || chr(10)
            || 'I''m sorry to have to inform you that your message could not' || chr(10)
            || 'be delivered to one or more recipients. It''s attached below.' || chr(10) || chr(10)
            || '<' || recipient || '>: host ' || tried_host || '[' || tried_ip || '] said: ' || reply || chr(10)
        when 'complaint' then 'This is a report of abuse, sent for one of our users.' || chr(10)
        else 'Delivery has failed to these recipients or groups:' || chr(10) || chr(10) || recipient || chr(10)
    end
"""


def part(content_type: str, body: str) -> str:
    """SQL of one part of the report."""
    return f"'--' || boundary || chr(10) || 'Content-Type: {content_type}' || chr(10) || chr(10) || {body} || chr(10)"


MULTIPART = f"""
    'MIME-Version: 1.0' || chr(10)
    || 'Content-Type: multipart/report; report-type='
    || case style when 'complaint' then 'feedback-report' else 'delivery-status' end
    || ';' || chr(10) || '    boundary="' || boundary || '"' || chr(10) || chr(10)
    || {part("text/plain; charset=us-ascii", HUMAN)}
    || case style
        when 'complaint' then {part("message/feedback-report", FEEDBACK)}
        else {part("message/delivery-status", STATUS)}
    end
    || case
        when not ({HAS_HEADER}) then ''
        when style = 'exchange' then {part("text/rfc822-headers", HEADER)}
        else {part("message/rfc822", HEADER + " || chr(10) || 'Hello,' || chr(10) || 'see our offers.' || chr(10)")}
    end
    || '--' || boundary || '--' || chr(10)
"""

PROSE = f"""
    chr(10) || case style
        when 'exim' then 'This message was created automatically by mail delivery software.' || chr(10) || chr(10)
            || 'A message that you sent could not be delivered to one or more of its' || chr(10)
            || 'recipients. This is a permanent error. The following address(es) failed:' || chr(10) || chr(10)
            || '  ' || recipient || chr(10)
            || '    host ' || tried_host || ' [' || tried_ip || ']' || chr(10)
            || '    SMTP error from remote mail server after RCPT TO:<' || recipient || '>:' || chr(10)
            || '    ' || reply || chr(10) || chr(10)
            || '------ This is a copy of the message, including all the headers. ------' || chr(10) || chr(10)
        else 'Hi. This is the qmail-send program at ' || {MAILER} || '.' || chr(10)
            || 'I''m afraid I wasn''t able to deliver your message to the following addresses.' || chr(10)
            || 'This is a permanent error; I''ve given up. Sorry it didn''t work out.' || chr(10) || chr(10)
            || '<' || recipient || '>:' || chr(10)
            || tried_ip || ' does not like recipient.' || chr(10)
            || 'Remote host said: ' || reply || chr(10)
            || 'Giving up on ' || tried_ip || '.' || chr(10) || chr(10)
            || '--- Below this line is a copy of the message.' || chr(10) || chr(10)
    end || {HEADER} || chr(10) || 'Hello,' || chr(10) || 'see our offers.' || chr(10)
"""

ANSWER = f"""
    'In-Reply-To: <' || {ORIGINAL_ID} || '>' || chr(10)
    || 'Auto-Submitted: auto-replied' || chr(10) || chr(10)
    || 'I am out of the office until Monday.' || chr(10)
"""

SENDER = """
    case style
        when 'answer' then recipient
        when 'complaint' then 'complaints@' || domain
        else 'Mail Delivery System <MAILER-DAEMON@mail.' || domain || '>'
    end
"""

SUBJECT = """
    case style
        when 'answer' then 'Automatic reply: ' || subject
        when 'complaint' then 'Abuse report'
        when 'postfix' then 'Undelivered Mail Returned to Sender'
        when 'exim' then 'Mail delivery failed: returning message to sender'
        when 'qmail' then 'failure notice'
        else 'Undeliverable: ' || subject
    end
"""

MAIL = f"""
    'Received: from ' || {MAILER} || ' by bounces' || copy || '.internal.example; ' || {EVENT_DATE} || chr(10)
    || 'From: ' || {SENDER} || chr(10)
    || 'To: ' || case style when 'complaint' then 'fbl@bounce.' || from_domain else envelope_sender end || chr(10)
    || 'Subject: ' || {SUBJECT} || chr(10)
    || 'Date: ' || {EVENT_DATE} || chr(10)
    || 'Message-ID: <' || {REPORT_ID} || '>' || chr(10)
    || case when style = 'exim' then 'X-Failed-Recipients: ' || recipient || chr(10) else '' end
    || case
        when style = 'answer' then {ANSWER}
        when style in ('exim', 'qmail') then {PROSE}
        else {MULTIPART}
    end
"""

IN_MAILBOX, IN_FILE, IN_MAILDIR = "mailbox", "file", "maildir"

RECORDS_SQL = f"""
    with styled as (
        select
            *,
            {STYLE} as style,
            {BOUNDARY} as boundary,
            ((drawn >> 40::ubigint) % 3)::int as zone,
            row_number() over (order by event_at, sender, message_number, recipient_number) as place,
        from today
    ),

    -- Some are kept twice, as mailboxes that forward to each other keep them.
    placed as (
        select
            *,
            case
                when place <= {FILES_A_DAY} and drawn % 7 = 1 then ['{IN_FILE}']
                when place <= {FILES_A_DAY} and drawn % 7 = 2 then ['{IN_MAILDIR}', '{IN_MAILBOX}']
                when place <= {FILES_A_DAY} and drawn % 7 = 3 then ['{IN_MAILDIR}']
                when drawn % 29 = 4 then ['{IN_MAILBOX}', '{IN_MAILBOX}']
                else ['{IN_MAILBOX}']
            end as keepers,
        from styled
    ),

    kept as (
        select *, unnest(keepers) as keeper, generate_subscripts(keepers, 1) as copy from placed
    ),

    written as (
        select *, {MAIL} as mail from kept
    )

    select
        case keeper
            when '{IN_FILE}' then 'single/bounce-' || strftime(event_at, '%Y%m%d-') || token[:12] || '.eml'
            when '{IN_MAILDIR}' then 'Maildir/new/' || epoch_us(event_at) // 1000000 || '.M'
                || epoch_us(event_at) % 1000000 || 'P' || place || '.bounces1.internal.example'
            else 'bounces-' || strftime(event_at, '%Y-%m-%d') || '.mbox'
        end as file_name,
        0 as part,
        case keeper
            when '{IN_MAILBOX}' then 'From MAILER-DAEMON ' || strftime(event_at, '%a %b ')
                || lpad(day(event_at)::varchar, 2, ' ') || strftime(event_at, ' %H:%M:%S %Y') || chr(10)
                || regexp_replace(mail, '^(>*From )', '>\\1', 'gm') || chr(10)
            else mail
        end as record,
    from written
    order by file_name, place, copy
"""


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write the mbox of a day, and the few mails that are files of their own."""
    return write_records(connection, RECORDS_SQL, directory)


TRUTH_SQL = f"""
    select
        case
            when {HAS_HEADER} then {ORIGINAL_ID}
            when {HAS_ENVELOPE_ID} then {powermta.ENVELOPE_ID}
        end as message_id,
        recipient, event_type, date_trunc('seconds', event_at) as event_at, false as is_attempt,
        origin, code, enhanced_code,
        case when event_type = 'out_of_band_bounce' then reply end as reply,
        case when {HAS_HEADER} then from_domain end as from_domain,
        case when {HAS_HEADER} then campaign_id end as campaign_id,
        null::varchar as sending_ip,
    from (select *, {STYLE} as style from today)
    where event_type <> 'auto_reply'
"""
