"""Exim's mainlog on two hosts: an old one in whole seconds without a zone (UTC), and a new one that says more.

The new host logs as `log_selector = +millisec +pid +received_recipients +outgoing_interface` and `log_timezone` ask,
and has the long ids of 4.97. Some messages wait in the queue first (`-odqs`): a line says so, and nobody was asked.
"""

from datetime import timedelta
from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import Day

OVERLAPPING_DAY = 2
"""Of this day of the period (from 0) the old host's morning was also copied while the log was still growing."""

DIGEST = "md5('exim:' || message_number)"
EXIM_ID = f"""
    case host_number
        when 0 then '1w' || {DIGEST}[:4] || '-' || lpad(upper(hex(message_number % 16777216)), 6, '0') || '-'
            || upper({DIGEST}[5:6])
        else '1w' || {DIGEST}[:4] || '-' || lpad(upper(hex(message_number)), 11, '0') || '-' || {DIGEST}[5:8]
    end
"""
MESSAGE_ID = f"{DIGEST}[:24] || '@' || from_domain"

IS_HELD_BACK = "event_type = 'injected' and drawn % 31 = 4"
HELD_BACK = "domain matches queue_smtp_domains, or -odqs set"
HELD_AFTER = 2000
"""Microseconds after its arrival that a message is left to the queue."""

REPLY_SQL = """
    array_to_string(
        list_transform(
            string_split(text, chr(10)),
            lambda line, number: code
                || case when number < len(string_split(text, chr(10))) then '-' else ' ' end
                || concat_ws(' ', enhanced_code, line)
        ),
        '\\n'
    )
"""
"""The lines of a reply with an escape for what parts them."""

AFTER_SQL = """
    case command
        when 'RCPT TO' then 'RCPT TO:<' || recipient || '>'
        when 'MAIL FROM' then 'MAIL FROM:<' || envelope_sender || '>'
        else 'end of data'
    end
"""
REFUSAL_SQL = f"'SMTP error from remote mail server after ' || {AFTER_SQL} || ': '"

SAID_BY = "'host ' || tried_host || ' [' || tried_ip || ']: '"
HOST_SQL = "' H=' || tried_host || ' [' || tried_ip || ']'"
ROUTE = "' R=dnslookup T=remote_smtp'"
TLS = "' X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes'"

ARRIVAL_SQL = f"""
    '<= ' || envelope_sender || ' H=app1.internal.example [192.0.2.80] P=esmtps'
    || ' X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S=' || (18000 + message_number % 9000)
    || ' id=' || {MESSAGE_ID} || ' T="' || subject || '"'
    || case when host_number = 1 then ' for ' || array_to_string(destination, ' ') else '' end
"""

DELIVERY_SQL = f"""
    case when is_further then '-> ' else '=> ' end || recipient
    || case when host_number = 1 then ' F=<' || envelope_sender || '>' else '' end
    || {ROUTE} || {HOST_SQL} || case when drawn % 9 = 2 then '*' else '' end
    || case when host_number = 1 then ' I=[' || sending_ip || ']:' || (32768 + drawn % 28000) else '' end
    || {TLS} || ' C="' || {REPLY_SQL} || '"'
    || case when host_number = 1 then ' QT=' || (epoch_ms(event_at - injected_at) / 1000.0)::decimal(12, 3)
        || 's DT=0.4s' else '' end
"""

DEFERRAL_SQL = f"""
    '== ' || recipient || {ROUTE} || ' defer (' || case
        when origin = 'local' then '110'
        when command = 'RCPT TO' then '-44'
        when command = 'MAIL FROM' then '-45'
        else '-46'
    end || ')' || case
        when origin = 'local' and host_number = 0 then ': ' || text
        when origin = 'local' then {HOST_SQL} || ': ' || text
        when host_number = 0 then ': ' || {REFUSAL_SQL} || {SAID_BY} || {REPLY_SQL}
        else {HOST_SQL} || {TLS} || ': ' || {REFUSAL_SQL} || {REPLY_SQL}
    end
"""

FAILURE_SQL = f"""
    '** ' || recipient || case
        when origin = 'local' and event_type = 'bounced' then ': ' || text
        when event_type = 'expired' then {ROUTE} || ': ' || text
        when host_number = 0
            then {ROUTE} || ': ' || {REFUSAL_SQL} || {SAID_BY} || {REPLY_SQL}
        else ' F=<' || envelope_sender || '>' || {ROUTE} || {HOST_SQL} || {TLS} || ': ' || {REFUSAL_SQL} || {REPLY_SQL}
    end
"""

# An arrival is logged once, whatever the number of its recipients.
LINES_SQL = f"""
    case
        when event_type = 'injected' then [
            case
                when recipient_number = 1 and message_number % 13 = 2
                    then {{'after': -900, 'line': 'no host name found for IP address 192.0.2.99'}}
            end,
            case when recipient_number = 1 and message_number % 29 = 2
                then {{'after': -800, 'line': 'Start queue run: pid=' || (2000 + drawn % 30000)}}
            end,
            case when recipient_number = 1 then {{'after': 0, 'line': exim_id || ' ' || {ARRIVAL_SQL}}} end,
            case when {IS_HELD_BACK} then {{
                'after': {HELD_AFTER}, 'line': exim_id || ' == ' || recipient || {ROUTE} || ' defer (-1): {HELD_BACK}'
            }} end
        ]
        else [
            case when event_type = 'deferred' and origin = 'local'
                then {{'after': -500, 'line': exim_id || {HOST_SQL} || ' Connection timed out'}}
            end,
            {{'after': 0, 'line': exim_id || ' ' || case event_type
                when 'delivered' then {DELIVERY_SQL}
                when 'deferred' then {DEFERRAL_SQL}
                else {FAILURE_SQL}
            end}},
            case when event_type in ('bounced', 'expired') and host_number = 0
                then {{'after': 1000, 'line': notice_id || ' <= <> R=' || exim_id || ' U=Debian-exim P=local S=21044'}}
            end,
            case when is_last then {{'after': 2000, 'line': exim_id || ' Completed'}} end
        ]
    end
"""


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write a file a host, rotated at midnight UTC; the new host's last day is not rotated yet."""
    rotated = f"{day.date + timedelta(days=1):%Y%m%d}"
    is_overlapping = str(day.number == OVERLAPPING_DAY).lower()
    last = "exim2/mainlog" if day.is_last else f"exim2/mainlog-{rotated}.gz"
    return write_records(
        connection,
        f"""
            with marked as (
                select
                    *,
                    {EXIM_ID} as exim_id,
                    '1x' || token[:4] || '-' || upper(token[5:10]) || '-' || upper(token[11:12]) as notice_id,
                    event_type = 'delivered' and recipients > 1 and row_number() over (
                        partition by message_number, step, receiver_id, event_type order by recipient_number
                    ) > 1 as is_further,
                from today
            ),

            written as (
                select
                    host_number, message_number, step, recipient_number, drawn, event_at,
                    unnest(list_filter({LINES_SQL}, lambda line: line is not null)) as written,
                from marked
            ),

            timed as (
                select *, event_at + to_microseconds(written.after) as logged_at from written
            )

            select
                unnest(case
                    when host_number = 1 then ['{last}']
                    when {is_overlapping} and hour(event_at) < 12
                        then ['exim1/mainlog-{rotated}.gz', 'exim1/mainlog-{day.date:%Y%m%d}.copy']
                    else ['exim1/mainlog-{rotated}.gz']
                end) as file_name,
                0 as part,
                case host_number
                    when 0 then strftime(logged_at, '%Y-%m-%d %H:%M:%S ')
                    else strftime(logged_at + interval 1 hour, '%Y-%m-%d %H:%M:%S.%g +0100 [')
                        || (2000 + (drawn >> 20::ubigint) % 30000) || '] '
                end || written.line || chr(10) as record,
            from timed
            order by file_name, event_at, message_number, step, recipient_number, written.after
        """,
        directory,
    )


# The new host's arrivals name their recipients; the connection of a delivery is logged there alone too.
TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply, null::varchar as from_domain, null::varchar as campaign_id,
        case when host_number = 1 and event_type = 'delivered' then sending_ip end as sending_ip,
    from today
    where event_type <> 'injected' or host_number = 1
    union all
    select
        {MESSAGE_ID}, recipient, 'deferred',
        date_trunc(
            case host_number when 0 then 'seconds' else 'milliseconds' end, event_at + to_microseconds({HELD_AFTER})
        ),
        false, 'local', null, null, '{HELD_BACK}', null, null, null,
    from today
    where {IS_HELD_BACK}
"""
