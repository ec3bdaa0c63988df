"""Postfix's syslog on two hosts: one writes year-less times in whole seconds, the other RFC 3339 with an offset.

A queue id's life is logged in full: client, header_checks, message-id, queue, every attempt, bounce, removal. Times
without a zone are UTC. Out-of-band bounces and complaints come back as mail, to the mailbox that `dsn` writes.
"""

from datetime import timedelta
from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import COLLAPSED_REPLY, Day

OVERLAPPING_DAY = 2
"""Of this day of the period (from 0) the afternoon was also copied while the log was still growing."""

DIGEST = "md5('postfix:' || message_number)"
QUEUE_ID = f"""
    case host_number
        -- Odd, so that every number below 2^40 has an id of its own.
        when 0 then lpad(upper(hex(message_number * 2654435761 % 1099511627776)), 10, '0')
        -- enable_long_queue_ids: no vowels.
        else '4' || translate({DIGEST}[:9], '0123456789abcdef', 'BCDFGHJKLMNPQRST') || 'z'
            || translate({DIGEST}[10:13], '0123456789abcdef', 'bcdfghjkmnpqrstv')
    end
"""

CLIENT = "app1.internal.example[192.0.2.80]"

IS_SUSPENDED = """coalesce(
    event_type = 'deferred' and step > 1 and code = '421' and command = 'MAIL FROM' and drawn % 4 = 1, false
)"""
"""The queue manager did not try, as earlier messages to that host had failed: an older reply is repeated."""

DSN = """
    case event_type
        -- Postfix retries after a 552 at RCPT TO, and writes the class of what it does.
        when 'deferred' then '4' || coalesce(enhanced_code, '4.0.0')[2:]
        else coalesce(enhanced_code, code[1] || '.0.0')
    end
"""

SAID_SQL = f"""
    case
        when origin = 'local' then text
        when event_type = 'delivered' then {COLLAPSED_REPLY}
        when code = '421' and command = 'MAIL FROM'
            then 'host ' || tried_host || '[' || tried_ip || '] refused to talk to me: ' || {COLLAPSED_REPLY}
        else 'host ' || tried_host || '[' || tried_ip || '] said: ' || {COLLAPSED_REPLY} || ' (in reply to '
            || case command when '.' then 'end of DATA' else command end || ' command)'
    end
"""

DELAY_SQL = """
    case
        when elapsed_ms < 100000 then elapsed_ms // 1000 || '.' || lpad((elapsed_ms % 1000 // 10)::varchar, 2, '0')
        else (elapsed_ms // 1000)::varchar
    end
"""

HEADER_SQL = (
    f"' from {CLIENT}; from=<' || envelope_sender || '> to=<' || recipient "
    "|| '> proto=ESMTP helo=<app1.internal.example>'"
)

QUEUED_SQL = """
    'from=<' || envelope_sender || '>, size=' || (18000 + message_number % 9000) || ', nrcpt=' || recipients
        || ' (queue active)'
"""


def line(after: int, tag: str, text: str, when: str = "true") -> str:
    """Give SQL of one line: `after` microseconds after its event; daemon, text and condition are SQL themselves."""
    return f"case when {when} then {{'after': {after}, 'tag': {tag}, 'line': {text}}} end"


def queue_line(after: int, tag: str, text: str, when: str = "true") -> str:
    """Give SQL of a line about the event's queue id."""
    return line(after, tag, f"queue_id || ': ' || {text}", when)


SMTPD, CLEANUP, QMGR, SMTP, BOUNCE = (
    f"'postfix/{daemon}'" for daemon in ("smtpd", "cleanup", "qmgr", "smtp", "bounce")
)

OTHER_DAEMONS = [
    line(-900, "'sshd'", "'Connection closed by 192.0.2.99 port 41022 [preauth]'", "message_number % 17 = 3"),
    line(-800, "'dovecot'", "'imap-login: Login: user=<ops>, method=PLAIN, TLS'", "message_number % 23 = 5"),
    line(-700, SMTPD, f"'connect from {CLIENT}'", "message_number % 7 = 1"),
]
ARRIVAL = [
    queue_line(0, SMTPD, f"'client={CLIENT}'"),
    queue_line(1000, CLEANUP, f"'info: header X-Campaign: ' || campaign_id || {HEADER_SQL}", "campaign_id is not null"),
    queue_line(2000, CLEANUP, f"'info: header From: ' || from_name || ' <' || from_address || '>' || {HEADER_SQL}"),
    queue_line(3000, CLEANUP, f"'message-id=<' || {DIGEST}[:20] || '@' || from_domain || '>'"),
    queue_line(9000, QMGR, QUEUED_SQL),
]
RETURN = queue_line(
    1000, BOUNCE, "'sender non-delivery notification: ' || notice_id", "event_type in ('bounced', 'expired')"
)
REMOVAL = queue_line(3000, QMGR, "'removed'", "is_last")
EXPIRY = [
    queue_line(0, QMGR, "'from=<' || envelope_sender || '>, status=expired, returned to sender'"),
    RETURN,
    REMOVAL,
]
ATTEMPT_SQL = f"""
    'to=<' || recipient || '>, relay='
        || case when tag = {SMTP} and mx_host is not null then mx_host || '[' || mx_ip || ']:25' else 'none' end
        || ', delay=' || {DELAY_SQL} || ', delays=' || {DELAY_SQL} || '/0.01/0.12/0.4, dsn=' || {DSN}
        || ', status=' || case event_type when 'delivered' then 'sent' else event_type end
        || ' (' || case when tag = {SMTP} then '' else 'delivery temporarily suspended: ' end || {SAID_SQL} || ')'
"""
ATTEMPT = [
    queue_line(-900, QMGR, QUEUED_SQL, "step > 1"),
    line(-600, SMTP, "text", "origin = 'local' and event_type = 'deferred'"),
    # Another host of the domain was tried before, in the same attempt.
    queue_line(
        -500, SMTP, SAID_SQL, f"tag = {SMTP} and origin = 'remote' and event_type = 'deferred' and drawn % 5 = 2"
    ),
    queue_line(0, "tag", ATTEMPT_SQL),
    RETURN,
    REMOVAL,
]

# A message arrives once, whatever the number of its recipients.
LINES_SQL = f"""
    case
        when event_type = 'injected' and recipient_number > 1 then []
        when event_type = 'injected' then [{", ".join(OTHER_DAEMONS + ARRIVAL)}]
        when event_type = 'expired' then [{", ".join(EXPIRY)}]
        else [{", ".join(ATTEMPT)}]
    end
"""

RECORDS_SQL = f"""
    with attempts as (
        select
            *,
            {QUEUE_ID} as queue_id,
            case host_number
                when 0 then upper(token[:10])
                else '4' || translate(token[:14], '0123456789abcdef', 'BCDFGHJKLMNPQRST')
            end as notice_id,
            epoch_ms(event_at - injected_at) as elapsed_ms,
            case when {IS_SUSPENDED} then 'postfix/error' else 'postfix/smtp' end as tag,
        from today
    ),

    written as (
        select
            host_number, message_number, step, recipient_number, drawn, event_at,
            unnest(list_filter({LINES_SQL}, lambda line: line is not null)) as written,
        from attempts
    ),

    timed as (
        select * replace (event_at + to_microseconds(written.after) as event_at) from written
    ),

    placed as (
        select
            *,
            case host_number
                when 0 then strftime(event_at, '%b ') || lpad(day(event_at)::varchar, 2, ' ')
                    || strftime(event_at, ' %H:%M:%S') || ' mta1 '
                else strftime(event_at + interval 1 hour, '%Y-%m-%dT%H:%M:%S.%f+01:00') || ' mta2 '
            end || written.tag || '['
                || case written.tag when {QMGR} then 1187 else 2000 + (drawn >> 20::ubigint) % 30000 end
                || ']: ' || written.line || chr(10) as record,
        from timed
    )

    select
        unnest(case
            when host_number = 0 then ['mta1/maillog-$rotated.gz']
            when $is_last then ['mta2/mail.log']
            when $overlaps and hour(event_at) >= 12 then ['mta2/mail.log-$rotated.gz', 'mta2/mail.log-$today.copy']
            else ['mta2/mail.log-$rotated.gz']
        end) as file_name,
        0 as part,
        record,
    from placed
    order by file_name, event_at, message_number, step, recipient_number, written.after
"""


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write a file a host, rotated at midnight UTC and named by that moment's date, as logrotate's `dateext` does."""
    values = {
        "$rotated": f"{day.date + timedelta(days=1):%Y%m%d}",
        "$today": f"{day.date:%Y%m%d}",
        "$is_last": str(day.is_last).lower(),
        "$overlaps": str(day.number == OVERLAPPING_DAY).lower(),
    }
    query = RECORDS_SQL
    for name, value in values.items():
        query = query.replace(name, value)
    return write_records(connection, query, directory)


TRUTH_SQL = f"""
    select
        {QUEUE_ID} as message_id, recipient, event_type, event_at, not {IS_SUSPENDED} as is_attempt, origin,
        code, enhanced_code, reply, from_domain, campaign_id, null::varchar as sending_ip,
    from today
    where event_type <> 'injected'
"""
