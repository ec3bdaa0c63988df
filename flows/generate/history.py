r"""What happened to every message: a simulated history that each source's writer logs in its own format.

A draw is a piece of an MD5 over the seed and the name of what is drawn, never `random()`, so that a history depends
on its arguments alone. The mix of fates, replies, mailings and receiving domains is data: the CSV files beside this
module. A line break in a reply's text is written `\n` there, and `{recipient}` and the like are filled in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

DATA = Path(__file__).parent

UNTIL_EXPIRY = 99
"""In `fates.csv`: deferred at every attempt that the lifetime allows."""

FIRST_NAMES = [
    "ada", "ben", "carla", "dario", "elif", "finn", "greta", "hugo", "ines", "jonas", "karin", "leo", "mona",
    "nils", "olga", "pavel", "quentin", "rosa", "sven", "tara", "ugo", "vera", "wanda", "xenia", "yusuf", "zoe",
    "anton", "bea", "chen", "dora", "emil", "fatima", "goran", "hana", "ivo", "jana", "kofi", "lena", "milan",
    "noor",
]  # fmt: skip
LAST_NAMES = [
    "ahlers", "bauer", "castel", "dorn", "ebner", "faber", "gallo", "huber", "ilves", "jensen", "keller",
    "lopez", "maurer", "nowak", "oberg", "petit", "quist", "roth", "sato", "tanner", "ulrich", "vogel", "weiss",
    "xu", "young", "zander", "abel", "brandt", "cole", "diaz", "egger", "fuchs", "grau", "haas", "imhof",
    "jung", "krause", "lenz", "meier", "nagel", "otto", "pohl", "reuter", "simon", "thoma", "urban", "voss",
    "winter", "yilmaz", "zeller",
]  # fmt: skip


@dataclass(frozen=True)
class Sender:
    """How one source sends. Times are in seconds; waits between attempts grow by `growth` up to `longest_wait`."""

    first_wait: int
    growth: int
    longest_wait: int
    lifetime: int
    precision: str
    """The finest unit of time that its log writes, as `date_trunc` names it."""
    sending_ips: tuple[str, ...]
    mark: str
    """How the local part of its return paths begins."""

    @property
    def attempt_offsets(self) -> list[int]:
        """Seconds from the first attempt to each attempt that the lifetime allows, the first included."""
        offsets, wait = [0], self.first_wait
        while offsets[-1] + wait < self.lifetime:
            offsets.append(offsets[-1] + wait)
            wait = min(wait * self.growth, self.longest_wait)
        return offsets


@dataclass(frozen=True)
class Day:
    """One day of the period. `hours_a_file`: the stretch of it in one file, of sources that rotate by the hour."""

    date: date
    number: int
    is_last: bool
    hours_a_file: int


MESSAGES_OF_SMALL_DAY = 5000

HOUR = 3600
SENDERS = {
    "kumomta": Sender(
        1200, 2, 6 * HOUR, 48 * HOUR, "microseconds", ("192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"), "k"
    ),
    "postfix": Sender(300, 2, 4 * HOUR, 40 * HOUR, "microseconds", ("192.0.2.25", "192.0.2.26"), "p"),
    "ses": Sender(600, 3, 8 * HOUR, 36 * HOUR, "milliseconds", ("203.0.113.51", "203.0.113.52", "203.0.113.53"), "s"),
    "powermta": Sender(
        600, 2, 4 * HOUR, 48 * HOUR, "seconds", ("192.0.2.41", "192.0.2.42", "192.0.2.43", "192.0.2.44"), "pmta"
    ),
    "sendgrid": Sender(600, 2, 6 * HOUR, 48 * HOUR, "seconds", ("203.0.113.61", "203.0.113.62"), "sg"),
    "mailgun": Sender(600, 2, 4 * HOUR, 40 * HOUR, "microseconds", ("203.0.113.71", "203.0.113.72"), "mg"),
    "sparkpost": Sender(1200, 2, 4 * HOUR, 44 * HOUR, "seconds", ("203.0.113.81", "203.0.113.82"), "msprvs"),
    "postmark": Sender(900, 3, 6 * HOUR, 40 * HOUR, "microseconds", ("203.0.113.91", "203.0.113.92"), "pm"),
    "exim": Sender(900, 2, 6 * HOUR, 48 * HOUR, "milliseconds", ("192.0.2.61", "192.0.2.62"), "x"),
    "events": Sender(900, 2, 4 * HOUR, 48 * HOUR, "seconds", ("203.0.113.21", "203.0.113.22"), "e"),
}

REPORTED_SENDERS = ("postfix", "exim", "powermta")
"""Those of whose mail some reports come by mail, for want of anybody else who would take them."""

COLLAPSED_REPLY = """
    array_to_string(
        list_transform(
            string_split(text, chr(10)),
            lambda line, number: concat_ws(' ',
                code || case
                    when number < len(string_split(text, chr(10))) then '-' || coalesce(enhanced_code, '')
                    else coalesce(' ' || enhanced_code, '')
                end,
                line
            )
        ),
        ' '
    )
"""
"""A remote's reply with its codes on every line, and the lines joined: as most MTAs log it."""


def simulate_days(
    connection: duckdb.DuckDBPyConnection, source_name: str, *, messages: int, days: int, first_day: date, seed: int
) -> Iterator[Day]:
    """Yield each day with the table `today` holding its events; a retry chain goes on in the days that follow.

    What would happen after the last day is left out, so the period ends with messages in flight. Only one day and the
    chains still open are held at a time. Reports that come back by mail are not in `today` but in `mailed`: a mailbox,
    the source "dsn", has those of `REPORTED_SENDERS`, whose histories are the same as where their own logs are written.
    """
    if source_name == "dsn":
        yield from gather_reports(connection, messages=messages, days=days, first_day=first_day, seed=seed)
        return
    yield from live(connection, source_name, messages=messages, days=days, first_day=first_day, seed=seed)


def gather_reports(
    connection: duckdb.DuckDBPyConnection, *, messages: int, days: int, first_day: date, seed: int
) -> Iterator[Day]:
    """Yield each day with the table `today` holding the reports that came by mail, with their sender's name."""
    connection.execute("drop table if exists reports")
    for sender in REPORTED_SENDERS:
        for _ in live(
            connection, sender, messages=messages, days=days, first_day=first_day, seed=seed, is_mail_only=True
        ):
            select = f"select '{sender}' as sender, * from mailed"
            connection.execute(f"create temp table if not exists reports as {select} limit 0")
            connection.execute(f"insert into reports {select}")
    for index in range(days):
        day = first_day + timedelta(days=index)
        connection.execute(
            "create or replace temp table today as from reports where event_at::date = $day::date", {"day": day}
        )
        yield day_of(day, index, messages, days)


def live(
    connection: duckdb.DuckDBPyConnection,
    source_name: str,
    *,
    messages: int,
    days: int,
    first_day: date,
    seed: int,
    is_mail_only: bool = False,
) -> Iterator[Day]:
    """Yield each day of one sender. `is_mail_only` leaves out all deliveries of which no report comes by mail."""
    prepare(connection, source_name, messages, seed, is_mail_only=is_mail_only)
    for index in range(days):
        day = first_day + timedelta(days=index)
        first, end = (messages * number // days for number in (index, index + 1))
        connection.execute(INJECT_SQL, {"source": source_name, "first": first, "end": end, "day": day})
        connection.execute(HAPPENED_SQL, {"day": day})
        connection.execute("create or replace temp table mailed as from happened where is_mailed")
        connection.execute("create or replace temp table today as from happened where not is_mailed")
        connection.execute(
            "create or replace temp table pending as from pending where event_at >= $day + interval 1 day",
            {"day": day},
        )
        yield day_of(day, index, messages, days)


def day_of(day: date, index: int, messages: int, days: int) -> Day:
    """The day at an index of the period; small ones have files of half a day."""
    return Day(day, index, index == days - 1, 12 if messages < MESSAGES_OF_SMALL_DAY * days else 1)


def prepare(
    connection: duckdb.DuckDBPyConnection, source_name: str, messages: int, seed: int, *, is_mail_only: bool
) -> None:
    """Load the tables that the simulation joins, with as many people per receiving domain as make mail repeat."""
    sender = SENDERS[source_name]
    for name, key in {
        "mailings": "mailing_id",
        "receivers": "receiver_id",
        "fates": "fate_id",
        "replies": "reply_id",
    }.items():
        connection.execute(
            f"create or replace temp table {name}_text as select row_number() over () as {key}, * "
            "from read_csv($path, header = true, delim = ',', quote = '\"', escape = '\"', all_varchar = true)",
            {"path": str(DATA / f"{name}.csv")},
        )
    connection.execute(f"""
        create or replace temp macro draw(subject) as md5_number_lower('{int(seed)}:' || subject);
        create or replace temp macro pick(drawn, slot, choices) as
            (((drawn >> (16 * slot)::ubigint) & 65535::ubigint) * choices::ubigint >> 16::ubigint)::bigint;
    """)
    # A ticket each, so that drawing by weight is an equality join.
    connection.execute("""
        create or replace temp table mailing_tickets as
        select mailings_text.* exclude (weight), row_number() over (order by mailing_id, copy) - 1 as ticket
        from mailings_text, unnest(range(weight::bigint)) as copies (copy)
    """)
    connection.execute(
        """
        create or replace temp table receivers as
        select
            * exclude (weight, mx_hosts, mx_first), weight::bigint as weight, mx_hosts::bigint as mx_hosts,
            mx_first::bigint as mx_first, greatest(4, $messages * weight::bigint * 6 // 10000) as people,
        from receivers_text
        """,
        {"messages": messages},
    )
    connection.execute("""
        create or replace temp table receiver_tickets as
        select receivers.*, row_number() over (order by receiver_id, copy) - 1 as ticket
        from receivers, unnest(range(weight)) as copies (copy)
    """)
    connection.execute(
        """
        create or replace temp table fates as
        select * replace (weight::bigint as weight, deferrals_min::bigint as deferrals_min,
            deferrals_max::bigint as deferrals_max)
        from fates_text
        where sources is null or list_contains(string_split(sources, ' '), $source)
        """,
        {"source": source_name},
    )
    connection.execute("""
        create or replace temp table fate_tickets as
        select drawn_by, fate, whom, row_number() over (partition by drawn_by order by fate_id, copy) - 1 as ticket
        from fates, unnest(range(weight)) as copies (copy)
    """)
    connection.execute(
        """
        create or replace temp table replies as
        select reply_id, situation, server, origin, code, enhanced_code, command,
            replace(text, '\\n', chr(10)) as text
        from replies_text
        where source is null or source = $source
        """,
        {"source": source_name},
    )
    connection.execute("""
        create or replace temp table reply_options as
        select situation, receivers.server, list(reply_id order by reply_id) as reply_ids
        from replies, (select distinct server from receivers) as receivers
        where replies.server in (receivers.server, 'any')
        group by all
    """)
    connection.execute(
        "create or replace temp table sender as select $offsets::bigint[] as offsets, $lifetime::bigint as lifetime, "
        "$precision as precision, $ips::varchar[] as sending_ips, $first::varchar[] as first_names, "
        "$last::varchar[] as last_names, $mark as mark, $is_mail_only as is_mail_only",
        {
            "offsets": sender.attempt_offsets,
            "lifetime": sender.lifetime,
            "precision": sender.precision,
            "ips": list(sender.sending_ips),
            "first": FIRST_NAMES,
            "last": LAST_NAMES,
            "mark": sender.mark,
            "is_mail_only": is_mail_only,
        },
    )
    connection.execute("drop table if exists pending")
    connection.execute("create temp table pending as from (" + EVENTS_SQL + ") limit 0", {
        "source": source_name, "first": 0, "end": 0, "day": date(2000, 1, 1),
    })  # fmt: skip


EVENTS_SQL = f"""
    with messages as (
        select
            message_number,
            draw($source || ':message:' || message_number) as drawn,
            draw($source || ':recipients:' || message_number) as drawn_recipients,
        from range($first, $end) as numbers (message_number)
    ),

    letters as (
        select
            message_number,
            drawn_recipients,
            mailing_tickets.mailing_id,
            pick(drawn, 1, len(sender.sending_ips)) as host_number,
            -- A campaign leaves within a morning, other mail at any hour.
            $day::timestamp + to_microseconds(
                case
                    when campaign_id is null then pick(drawn, 2, 86390)
                    else 25200 + pick(drawn, 2, 9000) + pick(drawn, 3, 9000)
                end * 1000000 + pick(drawn, 3, 1000000)
            ) as injected_at,
            case when pick(drawn_recipients, 0, 100) < 92 then 1 when pick(drawn_recipients, 0, 100) < 97 then 2 else 3
            end as recipients,
        from messages
        inner join mailing_tickets on mailing_tickets.ticket = pick(drawn, 0, 1000)
        cross join sender
    ),

    copies as (
        select *, unnest(range(1, recipients + 1)) as recipient_number from letters
    ),

    addressed as (
        select
            *,
            draw(
                $source || ':delivery:' || message_number || ':'
                || case when pick(drawn_recipients, 1, 2) = 0 then 1 else recipient_number end
            ) as drawn_receiver,
            draw($source || ':fate:' || message_number || ':' || recipient_number) as drawn_fate,
        from copies
    ),

    deliveries as (
        select
            addressed.*,
            receivers.receiver_id,
            -- Neighbours, so that a message never has the same recipient twice.
            ((drawn_recipients >> 16::ubigint) % receivers.people::ubigint + recipient_number::ubigint)::bigint
                % receivers.people as person,
            receivers.domain,
            receivers.fate as receiver_fate,
        from addressed
        inner join receiver_tickets as receivers on receivers.ticket = pick(drawn_receiver, 0, 1000)
    ),

    named as materialized (
        select
            * exclude (domain),
            first_names[1 + person % len(first_names)]
                || '.' || last_names[1 + person // len(first_names) % len(last_names)]
                || coalesce(nullif(person // (len(first_names) * len(last_names)), 0)::varchar, '')
                || '@' || domain as recipient,
            draw('address:' || receiver_id || ':' || person) % 10000 as address_ticket,
        from deliveries
        cross join sender
    ),

    destinations as (
        select message_number, list(recipient order by recipient_number) as destination
        from named
        where recipients > 1
        group by message_number
    ),

    fated as (
        select
            named.*,
            coalesce(destination, [recipient]) as destination,
            fates.* exclude (fate_id, weight, drawn_by, sources, whom),
        from named
        left join destinations using (message_number)
        -- On the ticket alone: a further condition here would make these joins loops.
        left join fate_tickets as by_address
            on by_address.drawn_by = 'address' and by_address.ticket = address_ticket
        left join fate_tickets as by_message
            on by_message.drawn_by = 'message' and by_message.ticket = pick(drawn_fate, 1, 10000)
        -- A message is given up on once, for all its recipients, so only the first may stay undelivered; and it is
        -- rejected before delivery as a whole.
        inner join fates
            on fates.fate = coalesce(
                receiver_fate,
                case when by_address.whom is null or recipient_number = 1 then by_address.fate end,
                case
                    when by_message.whom is null or by_message.whom = 'first' and recipient_number = 1 or recipients = 1
                        then by_message.fate
                end,
                'delivered'
            )
    ),

    counted as (
        select
            * exclude (drawn_receiver, drawn_recipients, receiver_fate),
            case
                when deferrals_min = {UNTIL_EXPIRY} then len(offsets)
                else deferrals_min + pick(drawn_fate, 2, deferrals_max - deferrals_min + 1)
            end as deferrals,
        from fated
        where not is_mail_only or reported_by = 'mail'
    ),

    tried as (
        select
            * exclude (deferrals),
            deferrals,
            deferrals + coalesce(final_type in ('delivered', 'bounced'), false)::int as attempts,
            case when final_type in ('expired', 'dropped') then final_type else after_type end
                as closing_type,
        from counted
    ),

    numbered as (
        select *, unnest(range(0, attempts + 1 + (closing_type is not null)::int)) as step from tried
    ),

    steps as (
        select
            *,
            coalesce(case
                when step = 0 then 'injected'
                when step <= deferrals then 'deferred'
                when step <= attempts then final_type
                else closing_type
            end, '') as event_type,
            case
                when step = 0 then null
                when step <= deferrals then deferral
                when step <= attempts or closing_type in ('expired', 'dropped') then final
                else after
            end as situation,
            -- By receiving domain, not recipient: recipients there share the connection, its time and its reply.
            draw($source || ':event:' || message_number || ':' || receiver_id || ':' || step) as drawn,
        from numbered
    ),

    timed as (
        select
            * exclude (
                drawn_fate, offsets, lifetime, sending_ips, first_names, last_names, precision, mark, is_mail_only
            ),
            date_trunc(
                case when $source in ('postfix', 'exim') and host_number = 0 then 'seconds' else precision end,
                injected_at + to_microseconds(case
                    when step = 0 then 0
                    else 1000000 + pick(drawn, 0, 8000000) + 1000000 * case
                        when step <= attempts then offsets[step] + case when step > 1 then pick(drawn, 3, 50) else 0 end
                        when closing_type = 'expired' then lifetime + pick(drawn, 3, 50)
                        when closing_type = 'dropped' and deferrals > 0 then offsets[deferrals] + 300
                        when closing_type = 'dropped' then 1
                        else offsets[attempts] + 1800 + pick(drawn, 3, 60000)
                    end
                end)
            ) as event_at,
        from steps
    )

    select
        message_number, recipient_number, recipients, host_number, mailing_id, receiver_id, recipient, destination,
        coalesce(reported_by = 'mail' and step > attempts, false) as is_mailed,
        fate, step, event_type, situation, injected_at, event_at, drawn,
        case when event_type in ('deferred', 'delivered', 'bounced') then step end as attempt_number,
        not coalesce(bool_or(final_type is null) over message, false)
            and row_number() over (
                message order by is_mailed, event_at desc, recipient_number desc
            ) = 1 as is_last,
    from timed
    window message as (partition by message_number)
"""

INJECT_SQL = "insert into pending " + EVENTS_SQL

HAPPENED_SQL = """
    create or replace temp table happened as
    with events as (
        select
            pending.*,
            mailings.* exclude (mailing_id, weight),
            receivers.domain,
            receivers.server,
            receivers.mx_network || (receivers.mx_first + pick(drawn, 2, receivers.mx_hosts)) as mx_ip,
            replace(receivers.mx_host, '#', (1 + pick(drawn, 2, receivers.mx_hosts))::varchar) as mx_host,
            mark || '-' || lower(hex(message_number * 7919 + 104729)) || '@bounce.' || mailings.from_domain
                as envelope_sender,
            sending_ips[1 + host_number] as sending_ip,
            replies.origin, replies.code, replies.enhanced_code, replies.command, replies.text as template,
            md5(drawn::varchar) as token,
        from pending
        cross join sender
        inner join mailings_text as mailings using (mailing_id)
        inner join receivers using (receiver_id)
        left join reply_options
            on reply_options.situation = pending.situation and reply_options.server = receivers.server
        left join replies on replies.reply_id = reply_ids[1 + pick(drawn, 1, len(reply_ids))]
        where event_at < $day + interval 1 day
    )

    select
        * exclude (template, mx_host, mx_ip),
        mailbox || '@' || from_domain as from_address,
        -- An attempt that reached nobody has no host; a report or a queue's own decision neither.
        case when origin = 'remote' and attempt_number is not null then mx_host end as mx_host,
        case when origin = 'remote' and attempt_number is not null then mx_ip end as mx_ip,
        mx_host as tried_host,
        mx_ip as tried_ip,
        case when not contains(template, '{') then template else
            template
            .replace('{recipient}', recipient)
            .replace('{sender}', envelope_sender)
            .replace('{sending_ip}', sending_ip)
            .replace('{from_domain}', from_domain)
            .replace('{domain}', domain)
            .replace('{mx_host}', coalesce(mx_host, ''))
            .replace('{mx_ip}', coalesce(mx_ip, ''))
            .replace('{token}', token[:12])
            .replace('{host_token}', 'AM' || upper(token[5:10]))
            .replace('{queue_id}', '4' || upper(token[12:20]))
            .replace('{exim_id}', '1' || token[1:5] || '-' || upper(token[6:16]) || '-' || token[17:20])
            .replace('{number}', (drawn % 10000000)::varchar)
            .replace('{digit}', (drawn % 10)::varchar)
        end as text,
        -- As it stands on one line.
        case when origin = 'remote' then concat_ws(' ', code, enhanced_code, replace(text, chr(10), ' ')) else text end
            as reply,
    from events
"""
