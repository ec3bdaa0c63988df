"""A day's cost depends on the days it touches: what the statements of a build read of the tables that grow with history.

The engine passes over a row group only as a whole, and one of its usual size holds more than all events of a test. So
the databases are copied with row groups of a day, and each statement of the build is run again on the copy.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from flows import addresses
from flows.dbt_process import read_results
from flows.settings import Settings
from tests.conftest import Warehouse, run_all

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("invariants")]

DAYS, DAILY, QUEUED = 60, 1_000, 200
"""Days of history, and messages a day by canonical events and by Postfix; who gets one gets another every twenty days."""
LATE = 2
"""The day of which a late file tells that addresses refuse, to which messages were sent on two days since."""
ROW_GROUP = 2_048
"""Rows; the smallest that there are."""
FACTS, MESSAGES = "marts.marts.fct_delivery_events", "marts.marts.fct_messages"
STAGED, QUEUE_FACTS = "work.intermediate.int_staged_events__collected", "work.intermediate.int_postfix__queue_facts"
GREAT = (FACTS, MESSAGES, STAGED, QUEUE_FACTS)
"""Tables of a row or more for each event or message, of so many columns that nobody can read them all each day."""
READS_ALL = {
    # how many there are, and the days of undeliveries
    "assert_days_equal_events": {FACTS, MESSAGES},
    # what was handed over to content filters
    "int_message_groups__touched": {QUEUE_FACTS},
    # what is in flight, wherever it is
    "int_message_groups__waiting": {MESSAGES},
    # copies of events of a source whose ids do not tell the time, by their ids
    "int_staged_events__repeated": {STAGED},
}
"""Statements that read a whole table, by design, in a column or two."""

HISTORY = f"""
    with messages as (
        select
            day,
            number,
            day || '-' || number as message_id,
            (day % 20) * {DAILY} + number || '@example.com' as recipient,
            timestamp '2026-01-01' + day * interval 1 day + number * interval 1 second as sent_at
        from range({DAYS}) as days (day), range({DAILY}) as numbers (number)
    )

    select 'injected' as event_type, sent_at as event_at, message_id, recipient, null as smtp_code, null as response_text
    from messages
    union all
    select
        case when number % 100 = 0 then 'bounced' else 'delivered' end, sent_at + interval 9 second, message_id, recipient,
        case when number % 100 = 0 then 554 else 250 end, case when number % 100 = 0 then '554 5.7.1 blocked' else '250 ok' end
    from messages
"""
LATE_DAY = f"""
    select
        'bounced' as event_type,
        timestamp '2026-01-01' + {LATE} * interval 1 day + interval 2 hour as event_at,
        'late-' || number as message_id,
        {LATE} * {DAILY} + number || '@example.com' as recipient,
        550 as smtp_code,
        '550 5.1.1 no such user' as response_text
    from range(100, 600) as numbers (number)
"""


def write(settings: Settings, name: str, events: str) -> None:
    path = settings.inbox / "events" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(f"copy (select columns(*)::varchar from ({events}) order by event_at) to '{path}'")


def write_queue(settings: Settings, name: str, days: range, status: str) -> None:
    """Log of a Postfix of which queue ids are used once: what it says of its messages of some days."""
    lines = []
    for day in days:
        date = datetime(2026, 1, 1) + timedelta(days=day)
        for number in range(QUEUED):
            queue_id = f"{name}B{day:03}{number:05}"
            recipient = f"{day % 20 * QUEUED + number}@example.net"
            for process, said in (
                ("cleanup", f"message-id=<{queue_id}@example.org>"),
                ("qmgr", "from=<b@example.org>, size=900, nrcpt=1 (queue active)"),
                ("smtp", f"to=<{recipient}>, relay=mx.example.net[192.0.2.1]:25, delay=1, delays=0/0/0/1, {status}"),
                ("qmgr", "removed"),
            ):
                lines.append(f"{date:%Y-%m-%d}T10:00:00+00:00 mta1 postfix/{process}[9]: {queue_id}: {said}\n")
    path = settings.inbox / "postfix" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A home of many days after a late file of one."""
    settings = Settings(home=tmp_path_factory.mktemp("late"))
    write(settings, "history", HISTORY)
    write_queue(settings, "A", range(DAYS), "dsn=2.0.0, status=sent (250 ok)")
    run_all(settings)
    write(settings, "late", LATE_DAY)
    refusal = "host mx.example.net[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)"
    write_queue(settings, "B", range(LATE, LATE + 1), f"dsn=5.1.1, status=bounced ({refusal})")
    return run_all(settings)


@pytest.fixture(scope="module")
def copied(late: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The private databases with small row groups, under their own names, by which the compiled SQL calls them."""
    folder = tmp_path_factory.mktemp("copied")
    with duckdb.connect() as connection:
        # as in profiles.yml
        addresses.register(connection)
        connection.execute("set dynamic_or_filter_threshold = 400")
        for path in (late.settings.work_database, late.settings.marts_database):
            copy = shutil.copy(path, folder)
            connection.execute(f"attach '{copy}' (row_group_size {ROW_GROUP})")
        for table in GREAT:
            connection.execute(f"create or replace table {table} as from {table}")
        connection.execute("use work")
        yield connection


def count_read(connection: duckdb.DuckDBPyConnection, code: str) -> Counter[str]:
    """Rows that a statement reads, by table."""
    (plan,) = connection.execute(f"explain (analyze, format json) {code}").fetchall()
    read: Counter[str] = Counter()

    def walk(node: dict[str, Any]) -> None:
        read[node.get("extra_info", {}).get("Table", "").replace('"', "")] += node.get("operator_rows_scanned", 0)
        for child in node.get("children", []):
            walk(child)

    walk(json.loads(plan[1]))
    return read


def test_a_late_day_reads_the_days_it_touches(late: Warehouse, copied: duckdb.DuckDBPyConnection) -> None:
    totals = {table: copied.execute(f"select count(*) from {table}").fetchone()[0] for table in GREAT}
    too_much = {}
    views = {name for (name,) in copied.execute("select view_name from duckdb_views()").fetchall()}
    for result in read_results(late.settings.dbt_target)["results"]:
        if not result["code"] or result["name"] in views:
            continue
        read = count_read(copied, result["code"])
        for table, total in totals.items():
            if read[table] > total / 4 and table not in READS_ALL.get(result["name"], ()):
                too_much[result["name"], table] = read[table] / total
    assert too_much == {}
