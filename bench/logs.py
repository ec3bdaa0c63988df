"""KumoMTA's logs of a long time, made fast: python bench/logs.py FOLDER [--daily 274000] [--days 365] [--late 1]

The generator makes fifteen to twenty thousand records a second, which is hours for a year of a large sender. So it
makes one week, with all that becomes of the week's messages in the days after it. The records of the week are cut
into pieces around what must differ from one week to the next (`base.duckdb`), and any day of any week is put together
from them. The same arguments give the same records; a day can be added at any time. Files are zstd, one frame each,
some a day and node.

What differs from week to week: the ids of messages, reports and sessions; the number in the return path, so that a
report still finds its message; all times, by whole weeks; tokens in replies; and recipients. A message that is under
way when its week ends goes on in the next.

Recipients are those of a list that is mailed every week. Two in a hundred of them are new each week and stand for
others. Of the generator's messages that are refused for good or complained of, one in fifteen stays: about what a
sender sees who keeps a suppression list, by the default policy. Who refused or complained is not mailed in a later
week; a new address has that place. So the list grows by about four addresses a week for a thousand messages.

What is not realistic: every week has the same messages at the same moments to the same providers with the same fates,
so weeks have equal sums and days differ by chance (no weekends, no seasons, no growth, no incidents); the campaigns
never end; numbers and short tokens in replies are those of the same moment a week before, so there are fewer distinct
replies than there would be; an address on the list may be mailed again within its week, but not after; addresses are of
fourteen domains; a new address is an old name with a number behind it. No segment was saved twice; three records in a
thousand are copies, as the generator makes them.

A late file has further messages of one day of the first week, a sixty-fourth of them or all, as far as that day
tells.
"""

import argparse
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import zstandard

from flows.generate import kumomta
from flows.generate.files import read_runs
from flows.generate.history import HAPPENED_SQL, INJECT_SQL, prepare

BASE = "base.duckdb"
FIRST_DAY = date(2025, 3, 3)
DAILY = 274_000
"""Records a day: a hundred million in a year."""
WEEK = 7
TAIL_DAYS = 3
"""Within which a week's last messages have been tried for two days, and reported on."""
RECORDS_PER_MESSAGE = 2.28
"""Of the generator's messages, those that do not stay among them."""
HOURS_A_FILE = 6
KEPT_OF_SUPPRESSING = 15
"""Of so many messages that are refused for good or complained of, one stays."""
WEEKS_ON_LIST = 50
"""After so many, an address gives way to a new one."""
SHARE_OF_LATE = 64
ROWS_A_BATCH = 5_000
ZSTD_LEVEL = 1
"""Level 3 takes twice the time, and gains nothing here."""
ALWAYS_NEW = -1
"""The turn of an address that is suppressed after a week."""
SUPPRESSING_SQL = """
    select fate from fates where final_type = 'bounced' or after_type in ('out_of_band_bounce', 'complaint')
"""
"""Fates that put an address on the list: the default policy takes every final refusal."""

MARK = "lower(hex(message_number * 7919 + 104729))"
"""What the generator writes into a message's return path."""

MESSAGES_SQL = f"""
    select
        {MARK} as mark,
        any_value(injected_at::date) - $first_day::date as injected_day,
        list(recipient) filter (fate in ({SUPPRESSING_SQL})) as suppressed,
        suppressed is null or md5_number_lower(mark) % {KEPT_OF_SUPPRESSING} = 0 as is_kept,
    from happened
    where step = 0
    group by message_number
"""


def turn_of(recipient: str) -> str:
    """SQL: when an address gives way to a new one, in weeks before the first; null where there is no address."""
    return f"""case
        when {recipient} in (select recipient from renewed) then {ALWAYS_NEW}
        else md5_number_lower({recipient}) % {WEEKS_ON_LIST}
    end::tinyint"""


MEMBERS = ("sender", "recipient", "queue", "response", "peer_address", "timestamp", "event_time", "created",
    "created_time", "num_attempts", "session_id")  # fmt: skip
"""Before which, or after whose names, a record is cut. The generator writes them in this order."""


def at(member: str) -> str:
    """SQL: the position of the comma before a member."""
    return f"strpos(record, ',\"{member}\":')::int"


def between(start: str, end: str) -> str:
    """SQL: what stands between two positions of a record."""
    return f"substr(record, {start}, {end} - ({start}))"


# Quotes within values are escaped, so that `,"queue":` is found as a member only.
CUT_SQL = f"""
    with found as (
        select
            *,
            {", ".join(f"{at(member)} as {member}_at" for member in MEMBERS)},
        from raw
        where event_day % {WEEK} = $weekday
    ),

    cut as (
        select
            event_day,
            split_part(file_name, '/', 1) as node,
            {between("1", "sender_at - 33")} as until_id,
            {between("sender_at - 33", "sender_at - 1")} as id,
            {between("sender_at - 1", "recipient_at")} as sender_member,
            split_part(sender_member, '@', 1) as sender,
            substr(sender_member, length(sender) + 1) || ',"recipient":' as until_recipient,
            {between("recipient_at + 13", "queue_at")} as recipient,
            {between("queue_at", "response_at + 12")} as until_response,
            {between("response_at + 12", "peer_address_at")} as response,
            {between("peer_address_at", "timestamp_at + 13")} as until_time,
            {between("timestamp_at + 13", "event_time_at")}::bigint as event_at,
            {between("event_time_at + 15", "event_time_at + 25")}::date as event_date,
            {between("event_time_at + 25", "created_at + 11")} as event_clock,
            {between("created_at + 11", "created_time_at")}::bigint as created_at,
            {between("created_time_at + 17", "created_time_at + 27")}::date as created_date,
            {between("created_time_at + 27", "num_attempts_at")} as created_clock,
            {between("num_attempts_at", "session_id_at + 14")} as until_session,
            substr(record, session_id_at + 14) as session_and_end,
        from found
    ),

    named as (
        select
            *,
            contains(until_session, '"feedback_type"') as is_complaint,
            regexp_extract(if(is_complaint, until_session, sender), '"k-([0-9a-f]+)', 1) as mark,
            case
                when is_complaint then [regexp_extract(until_session, '"original_rcpt_to":\\["([^"]+)"', 1)]
                else regexp_extract_all(recipient, '"([^"]+)"', 1)
            end as recipients,
            string_split(recipient, '@') as recipient_parts,
        from cut
    ),

    turned as (
        select
            *,
            {turn_of("recipients[1]")} as turn,
            {turn_of("recipients[2]")} as turn_2,
            {turn_of("recipients[3]")} as turn_3,
        from named
    )

    select
        event_day % {WEEK} as weekday,
        event_day // {WEEK} as weeks_late,
        node,
        event_clock[2:3]::int // {HOURS_A_FILE} * {HOURS_A_FILE} as hour,
        messages.injected_day,
        md5_number_lower(mark) % {SHARE_OF_LATE} as share,
        is_complaint,
        mark,
        -- the number of a return path may look like one
        nullif(
            regexp_extract(replace(response, mark || '@', '@'), '\\b(?:[0-9a-f]{{12}}|[0-9A-F]{{9,11}})\\b'), ''
        ) as token,
        -- whom the response or the complaint names
        case
            when is_complaint or contains(response, recipients[1]) or contains(response, mark) then recipients[1]
        end as recipient,
        turn,
        until_id,
        id,
        sender,
        until_recipient || recipient_parts[1] as recipient_1,
        case when not is_complaint then turn end as turn_1,
        '@' || recipient_parts[2] as recipient_2,
        turn_2,
        coalesce('@' || recipient_parts[3], '') as recipient_3,
        turn_3,
        coalesce('@' || recipient_parts[4], '') || until_response as until_response,
        response,
        until_time,
        event_at,
        event_date,
        event_clock,
        created_at,
        created_date,
        created_clock,
        until_session,
        if(starts_with(session_and_end, '"'), substr(session_and_end, 2, 32), null) as session,
    from turned
    inner join messages using (mark)
    where is_kept
"""


def renew(turn: str) -> str:
    """SQL: what stands behind an address's name in a message's week."""
    return f"""case
        when {turn} is null then ''
        when {turn} = {ALWAYS_NEW} then if(week = 0, '', '-' || week)
        else if((week + {turn}) < {WEEKS_ON_LIST}, '', '-' || (week + {turn}) // {WEEKS_ON_LIST})
    end"""


TOKEN = "if(token = upper(token), upper(md5(token || salt)), md5(token || salt))[:length(token)]"
RESPONSE = f"if(token is null, response, replace(response, token, {TOKEN}))"


def rename(said: str) -> str:
    """SQL: a text that names the recipient or the return path, as it is in the message's week."""
    renamed = f"replace(recipient, '@', {renew('turn')} || '@')"
    return f"replace(replace({said}, recipient, {renamed}), mark || '@', mark || salt || '@')"


def redate(said: str) -> str:
    """SQL: a complaint's text with the day on which its message arrived."""
    before, after = (f'\'"arrival_date":"\' || ($first_day::date + injected_day + {n})' for n in (0, f"week * {WEEK}"))
    return f"replace({said}, {before}, {after})"


DAY_SQL = f"""
    with told as (
        select *, $week::int - weeks_late as week, if(weeks_late = 0, $salt, $salt_before) as salt
        from records
        where weekday = $weekday
    )

    select
        strftime($day::date, '%Y%m%d-') || lpad(hour::varchar, 2, '0') || '0000-' || node || $ending as file_name,
        0 as part,
        concat(
            until_id, md5(id || salt), sender, if(is_complaint, '', salt),
            recipient_1, {renew("turn_1")}, recipient_2, {renew("turn_2")}, recipient_3, {renew("turn_3")},
            until_response, if(recipient is null or is_complaint, {RESPONSE}, {rename(RESPONSE)}),
            until_time, event_at + week * {WEEK * 86400},
            ',"event_time":"', event_date + week * {WEEK}, event_clock, created_at + week * {WEEK * 86400},
            ',"created_time":"', created_date + week * {WEEK}, created_clock,
            if(is_complaint, {redate(rename("until_session"))}, until_session),
            if(session is null, 'null', '"' || md5(session || salt) || '"'), '}}', chr(10)
        ) as record,
    from told
    where week >= 0
"""
"""The records of a day, in the order of its files."""


def prepare_folder(kept: Path, *, daily: int, seed: int = 1) -> Path:
    """Give the folder below `kept` of logs with so many records a day, with their base in it."""
    folder = kept / f"{daily}-a-day"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / BASE).exists():
        make_base(folder / BASE, daily=daily, seed=seed)
    return folder


def make_base(path: Path, *, daily: int, seed: int) -> None:
    """One week of the generator's, and what becomes of its messages, in pieces."""
    messages = max(WEEK, round(daily * WEEK / RECORDS_PER_MESSAGE))
    records_sql = kumomta.RECORDS_SQL.replace("$hours", str(HOURS_A_FILE)).replace("$overlaps", "false")
    with TemporaryDirectory(dir=path.parent) as scratch, duckdb.connect(f"{scratch}/raw.duckdb") as connection:
        connection.execute(
            f"set memory_limit = '4GB'; set temp_directory = '{scratch}/spill'; set enable_progress_bar = false"
        )
        connection.execute("create table messages (mark varchar, injected_day int, suppressed varchar[], is_kept bool)")
        connection.execute("create table raw (event_day int, file_name varchar, record varchar)")
        prepare(connection, "kumomta", messages, seed, is_mail_only=False)
        for number in range(WEEK + TAIL_DAYS):
            day = FIRST_DAY + timedelta(number)
            first, end = (messages * min(index, WEEK) // WEEK for index in (number, number + 1))
            connection.execute(INJECT_SQL, {"source": "kumomta", "first": first, "end": end, "day": day})
            connection.execute(HAPPENED_SQL, {"day": day})
            connection.execute(
                "create or replace temp table pending as from pending where event_at >= $day + interval 1 day",
                {"day": day},
            )
            connection.execute("create or replace temp table today as from happened where not is_mailed")
            connection.execute(f"insert into raw select {number}, file_name, record from ({records_sql})")
            connection.execute(f"insert into messages {MESSAGES_SQL}", {"first_day": FIRST_DAY})
        connection.execute("""
            create table renewed as
            select distinct unnest(suppressed) as recipient from messages where is_kept
        """)
        connection.execute(f"attach '{scratch}/base.duckdb' as base")
        connection.execute(f"create table base.records as ({CUT_SQL}) limit 0", {"weekday": 0})
        for weekday in range(WEEK):
            connection.execute(
                f"insert into base.records from ({CUT_SQL}) order by node, hour, event_clock, id, is_complaint",
                {"weekday": weekday},
            )
        connection.execute("detach base")
        Path(scratch, "base.duckdb").rename(path)


def write_days(folder: Path, days: Iterable[int]) -> list[Path]:
    """Give the files of days, numbered from 0; those that are not there yet are written, by all processors."""

    def write_day(number: int) -> list[Path]:
        week, weekday = divmod(number, WEEK)
        salts = [f"{max(week - late, 0):03x}" for late in (0, 1)]
        return write_files(folder, f"day-{number:04}", week, weekday, salts)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return [path for paths in threads.map(write_day, days) for path in paths]


def write_late(folder: Path, number: int, *, is_whole: bool) -> list[Path]:
    """Give the files of further messages of a day in the first week; each number is of messages of its own."""
    name = f"late-{number:02}-{'whole' if is_whole else 'small'}"
    weekday = (number + 2) % WEEK
    # no week has such a salt
    salt = f"{0xE00 + 2 * number + is_whole:03x}"
    which = f"injected_day = {weekday}" + ("" if is_whole else " and share = 1")
    return write_files(folder, name, 0, weekday, [salt, salt], which)


def write_files(folder: Path, name: str, week: int, weekday: int, salts: list[str], which: str = "true") -> list[Path]:
    """Put a day of a week together, into files below `folder/name`; each is whole or not there."""
    target = folder / name
    if target.exists():
        return sorted(target.iterdir())
    unfinished = folder / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    values = {
        "first_day": FIRST_DAY,
        "day": FIRST_DAY + timedelta(week * WEEK + weekday),
        "week": week,
        "weekday": weekday,
        "salt": salts[0],
        "salt_before": salts[1],
        "ending": f"{'' if which == 'true' else '-' + name}.jsonl.zst",
    }
    with duckdb.connect(folder / BASE, read_only=True, config={"threads": 1}) as connection:
        connection.execute("set enable_progress_bar = false")
        batches = connection.execute(DAY_SQL + f" and {which}", values).to_arrow_reader(ROWS_A_BATCH)
        for (file_name, _), pieces in groupby(read_runs(batches), key=lambda run: run[0]):
            with (
                (unfinished / file_name).open("wb") as file,
                zstandard.ZstdCompressor(ZSTD_LEVEL).stream_writer(file) as frame,
            ):
                for _, piece in pieces:
                    frame.write(piece)
    unfinished.rename(target)
    return sorted(target.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--daily", type=int, default=DAILY)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--from-day", type=int, default=0)
    parser.add_argument("--late", type=int, default=0, help="how many late files, of each size")
    parser.add_argument("--late-file", nargs=2, metavar=("NUMBER", "SIZE"), help="one late file, small or whole")
    parser.add_argument("--list", action="store_true", help="print the paths of the files")
    chosen = parser.parse_args()
    folder = prepare_folder(chosen.folder, daily=chosen.daily)
    paths = write_days(folder, range(chosen.from_day, chosen.days))
    for number in range(chosen.late):
        paths += [path for is_whole in (False, True) for path in write_late(folder, number, is_whole=is_whole)]
    if chosen.late_file:
        number, size = chosen.late_file
        paths += write_late(folder, int(number), is_whole=size == "whole")
    if chosen.list:
        print("\n".join(map(str, paths)))
    else:
        print(f"{len(paths):,} files, {sum(path.stat().st_size for path in paths):,} bytes, in {folder}")


if __name__ == "__main__":
    main()
