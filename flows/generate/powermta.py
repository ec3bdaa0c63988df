"""PowerMTA's accounting files: CSV with CRLF, as two installations write it.

The morning's files have columns for two header fields of the message, the afternoon's have none; one file is of an
older version, with epoch seconds and another order of columns, and one was written by a pipe that started twice. A
message's job id is its campaign. Some reports PowerMTA took itself (`rb`, `f`), others went to the mailbox of `dsn`.
"""

from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import COLLAPSED_REPLY, Day

OLD_DAY, RESTARTED_DAY, COPIED_DAY = 1, 2, 3
"""Days of the period (from 0) on which the morning's file is old, the afternoon's has two headers, a copy was kept."""

ENVELOPE_ID = "md5('powermta:' || message_number)[:16]"

IS_MORNING = "(hour(event_at) < 12)"
IS_REPORT = "event_type in ('out_of_band_bounce', 'complaint')"
IS_DELIVERY = "attempt_number is not null or event_type in ('expired', 'dropped')"

ISO_TIME = "strftime(%s + interval 1 hour, '%%Y-%%m-%%d %%H:%%M:%%S+0100')"
EPOCH_TIME = "(epoch_us(%s) // 1000000)::varchar"

TYPE = """
    case copy when 1 then 'tq' when 2 then 'rs' else case event_type
        when 'injected' then 'r'
        when 'delivered' then 'd'
        when 'deferred' then 't'
        when 'out_of_band_bounce' then 'rb'
        when 'complaint' then 'f'
        else 'b'
    end end
"""

STATUS = "coalesce(enhanced_code, code[1] || '.0.0')"
MEANING = f"""
    case {STATUS}
        when '2.0.0' then 'success'
        when '5.1.1' then 'bad destination mailbox address'
        when '5.2.1' then 'mailbox disabled'
        when '5.2.2' then 'mailbox full'
        when '4.2.2' then 'mailbox full'
        when '5.7.1' then 'delivery not authorized'
        else case when origin = 'remote' then 'undefined status' else text end
    end
"""

CATEGORY = """
    case
        when event_type = 'delivered' then 'success'
        when event_type = 'expired' then 'message-expired'
        when event_type = 'dropped' then 'other'
        when situation in ('user_unknown', 'user_unknown_late') then 'bad-mailbox'
        when situation = 'mailbox_inactive' then 'inactive-mailbox'
        when situation in ('mailbox_full', 'mailbox_full_552', 'mailbox_full_refused') then 'quota-issues'
        when situation in ('no_such_domain', 'no_mail_domain') then 'bad-domain'
        when situation = 'unreachable' then 'no-answer-from-host'
        when situation in ('spam_block', 'reputation_deferred') then 'spam-related'
        when situation = 'spam_content' then 'content-related'
        when situation = 'relay_denied' then 'relaying-issues'
        when situation = 'sender_refused' then 'invalid-sender'
        else 'policy-related'
    end
"""

QUOTED_FROM = """'"' || from_name || ' <' || from_address || '>"'"""
HAS_STATUS = f"({IS_DELIVERY} or event_type = 'out_of_band_bounce')"


def columns(time: str) -> dict[str, str]:
    """Each column's SQL, as text; null is empty. `time` is the SQL of a time, `%s` standing for the timestamp."""
    return {
        "type": TYPE,
        "timeLogged": time % "event_at",
        "timeQueued": f"case when {IS_DELIVERY} then {time % 'injected_at'} end",
        "orig": "envelope_sender",
        "rcpt": "recipient",
        "orcpt": "case when message_number % 3 = 0 then 'rfc822;' || recipient end",
        "dsnAction": """case event_type
            when 'delivered' then 'relayed' when 'deferred' then 'delayed' when 'injected' then null
            when 'complaint' then null else 'failed'
        end""",
        "dsnStatus": f"case when {HAS_STATUS} then {STATUS} || ' (' || {MEANING} || ')' end",
        "dsnDiag": f"""case
            when {HAS_STATUS} and origin = 'remote'
                then '"smtp;' || replace({COLLAPSED_REPLY}, '"', '""') || '"'
        end""",
        "dsnMta": "case when attempt_number is not null then tried_host || ' (' || tried_ip || ')' end",
        "dsnReportingMta": "case when event_type = 'out_of_band_bounce' then 'dns;mail.' || domain end",
        "bounceCat": f"case when {HAS_STATUS} then {CATEGORY} end",
        "srcType": f"case when {IS_REPORT} then 'smtp' else 'api' end",
        "srcMta": f"""case
            when {IS_REPORT} then 'report.' || domain || ' (' || tried_ip || ')' else 'app1 (192.0.2.80)'
        end""",
        "rcvSourceIp": "case when event_type = 'injected' then '192.0.2.80' end",
        "dlvType": "case when attempt_number is not null then 'smtp' end",
        # Where there was no connection.
        "dlvSourceIp": """case
            when mx_host is not null then sending_ip
            when attempt_number is not null then '0.0.0.0'
        end""",
        "dlvDestinationIp": "case when attempt_number is not null then coalesce(mx_ip, '0.0.0.0') end",
        "dlvEsmtpAvailable": "case when mx_host is not null then 'ehlo;size;starttls' end",
        "dlvSize": "case when event_type = 'delivered' then (18000 + message_number % 9000)::varchar end",
        "vmta": f"case when not {IS_REPORT} then 'vmta-' || host_number end",
        "jobId": f"case when not {IS_REPORT} then campaign_id end",
        "envId": ENVELOPE_ID,
        "queue": f"case when {IS_DELIVERY} then case when server = 'yippee' then 'yippee.rollup' else domain end"
        " || '/vmta-' || host_number end",
        "feedbackType": "case when event_type = 'complaint' then 'abuse' end",
        "format": "case when event_type = 'complaint' then 'arf' end",
        "userAgent": "case when event_type = 'complaint' then domain || '-fbl/2.1' end",
        "reportedDomain": "case when event_type = 'complaint' then from_domain end",
    }


HEADERS = {
    "header_From": f"case when {IS_DELIVERY} or event_type = 'complaint' then {QUOTED_FROM} end",
    "header_X-Campaign": f"case when {IS_DELIVERY} or event_type = 'complaint' then campaign_id end",
}

# A queue's own record has few fields and no recipient; a report of something else than a failure is one of no kind.
EMPTY_IN_QUEUE = {
    "orig",
    "rcpt",
    "orcpt",
    "envId",
    "jobId",
    "dsnDiag",
    "timeQueued",
    "header_From",
    "header_X-Campaign",
}


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write the two files of a day, and on one day what a copy of the first had before it was full."""
    paths: list[Path] = []
    is_old = day.number == OLD_DAY
    for number, half in enumerate((IS_MORNING, f"not {IS_MORNING}")):
        written = columns(EPOCH_TIME if is_old and number == 0 else ISO_TIME)
        if number == 0:
            written |= HEADERS
            if is_old:
                written = dict(sorted(written.items(), key=lambda item: item[0][::-1].lower()))
        name = f"acct-{day.date}-{number:04d}.csv" + (".gz" if number == 0 else "")
        header = ",".join(written)
        paths += write_part(connection, directory, name, header, written, half, day)
        if number == 0 and day.number == COPIED_DAY:
            early = "hour(event_at) < 9"
            paths += write_part(connection, directory, f"copies/{name}", header, written, early, day)
    return paths


def write_part(
    connection: duckdb.DuckDBPyConnection,
    directory: Path,
    name: str,
    header: str,
    written: dict[str, str],
    when: str,
    day: Day,
) -> list[Path]:
    """Write the events of `today` for which `when` holds, below a header; below a second one from 15:00 on one day."""
    fields = " || ',' || ".join(
        f"coalesce(case when copy <> 1 then {value} end, '')" if column in EMPTY_IN_QUEUE else f"coalesce({value}, '')"
        for column, value in written.items()
    )
    return write_records(
        connection,
        f"""
            with copied as (
                select
                    *,
                    unnest(case
                        when event_type = 'deferred' and drawn % 29 = 3 then [0, 1]
                        when event_type = 'out_of_band_bounce' and drawn % 5 = 3 then [0, 2]
                        else [0]
                    end) as copy,
                    hour(event_at) >= 15 and {str(day.number == RESTARTED_DAY).lower()} as is_restarted,
                from today
                where {when}
            ),

            headers as (
                select is_restarted, '{header}' || chr(13) || chr(10) as record
                from (select false as is_restarted union select is_restarted from copied)
            ),

            rows as (
                select is_restarted, null::timestamp as event_at, 0 as message_number, 0 as step, 0 as recipient_number,
                    0 as copy, record
                from headers
                union all
                select
                    is_restarted, event_at, message_number, step, recipient_number, copy,
                    {fields} || chr(13) || chr(10),
                from copied
            )

            select '{name}' as file_name, 0 as part, record
            from rows
            order by is_restarted, event_at nulls first, message_number, step, recipient_number, copy
        """,
        directory,
    )


TRUTH_SQL = f"""
    select
        {ENVELOPE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code,
        case when origin = 'local' then enhanced_code || ' (' || text || ')' else reply end as reply,
        case when {IS_MORNING} and ({IS_DELIVERY} or event_type = 'complaint') then from_domain end as from_domain,
        case when not {IS_REPORT} then campaign_id end as campaign_id,
        case when mx_host is not null then sending_ip end as sending_ip,
    from today
"""
