"""docs/questions.md: each statement runs on the samples, gives what it says, and is right by another way of counting."""

import math
import re
import shutil
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests import marts
from tests.conftest import PROJECT, Warehouse

pytestmark = pytest.mark.xdist_group("warehouse")

YESTERDAY = date(2026, 3, 7)
"""The samples end in the course of March 8."""


def read_questions() -> dict[str, tuple[str, list[str]]]:
    """By heading, the statement and the columns that the page says it gives."""
    page = (PROJECT / "docs" / "questions.md").read_text()
    questions = {}
    for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        [statement] = re.findall(r"```sql\n(.*?)```", body, re.DOTALL)
        [columns] = re.findall(r"^Gives (.*?)(?:[.:]|$)", body, re.MULTILINE | re.DOTALL)
        questions[heading] = (statement, re.findall(r"`(\w+)`", columns))
    return questions


QUESTIONS = read_questions()


def ask(database: Path, words: str) -> list[dict[str, Any]]:
    """The answer to the one question in whose heading the words are."""
    [statement] = [statement for heading, (statement, _) in QUESTIONS.items() if words in heading]
    with duckdb.connect(database, read_only=True) as connection:
        return connection.execute(statement).to_arrow_table().to_pylist()


@pytest.mark.parametrize("heading", QUESTIONS)
def test_each_gives_the_columns_it_says(warehouse: Warehouse, heading: str) -> None:
    statement, columns = QUESTIONS[heading]
    with duckdb.connect(warehouse.database, read_only=True) as connection:
        assert [column[0] for column in connection.execute(statement).description] == columns


def test_all_questions_of_the_morning_are_there() -> None:
    assert len(QUESTIONS) == 10


def test_thresholds(warehouse: Warehouse) -> None:
    expected = {}
    for dimension in ("from_domain", "sending_ip", "provider"):
        rows = marts.read(
            warehouse.database,
            f"""with counted as (
                select event_date, {dimension} as named, 1 as refused, 0 as ended
                from marts.fct_bounces where bounce_class = 'hard'
                union all
                select event_date, {dimension}, 0, 1
                from marts.fct_delivery_events where event_type in ('delivered', 'bounced')
            )
            select event_date, named, sum(refused), sum(ended) from counted where event_date >= '{YESTERDAY}' group by 1, 2""",
        )
        for day, named, refused, ended in rows:
            if refused >= 3 and ended >= 100 and refused / ended >= 0.02:
                level = "critical" if refused / ended >= 0.1 else "warning" if refused / ended >= 0.05 else "notice"
                expected[day, dimension, named] = (level, refused, ended)
    assert len(expected) > 5
    found = {
        (row["event_date"], row["dimension"], row["dimension_value"]): (
            row["level"], row["event_count"], row["volume_count"],
        )
        for row in ask(warehouse.database, "crossed a threshold")
        if row["metric"] == "hard_bounce_rate"
    }  # fmt: skip
    assert found == expected


def test_new_replies(warehouse: Warehouse) -> None:
    expected = marts.read(
        warehouse.database,
        f"""select first_date, bounce_text, count from (
            select text_id, min(event_date) as first_date, count(*) as count
            from marts.fct_bounces group by text_id, event_date
            qualify row_number() over (partition by text_id order by event_date) = 1
        ) join marts.dim_bounce_texts using (text_id)
        where first_date >= '{YESTERDAY}' order by all""",
    )
    assert len(expected) > 3
    found = [row for row in ask(warehouse.database, "spikes") if row["change"] == "new"]
    assert sorted((row["event_date"], row["bounce_text"], row["bounce_count"]) for row in found) == expected


def test_one_ip_or_all(warehouse: Warehouse) -> None:
    """The samples end on March 8: all of their days from the 1st on count."""
    attempts: dict[tuple[str, str], int] = defaultdict(int)
    bounces: dict[tuple[str, str, str], int] = defaultdict(int)
    events = "select provider, sending_ip from marts.fct_delivery_events where is_attempt and sending_ip is not null"
    for provider, ip in marts.read(warehouse.database, events):
        attempts[provider, ip] += 1
    refusals = "select provider, reason, sending_ip from marts.fct_bounces where sending_ip is not null"
    for provider, reason, ip in marts.read(warehouse.database, refusals):
        bounces[provider, reason, ip] += (provider, ip) in attempts
    answers = ask(warehouse.database, "one IP, or all")
    assert {"one IP", "all alike"} <= {row["finding"] for row in answers}
    for row in answers:
        refused = {
            ip: bounces[row["provider"], row["reason"], ip] for provider, ip in attempts if provider == row["provider"]
        }
        tried = {ip: attempts[row["provider"], ip] for ip in refused}
        assert row["bounce_count"] == sum(refused.values())
        assert (row["ip_count"], row["refused_ip_count"]) == (len(tried), sum(map(bool, refused.values())))
        worst = row["worst_ip"]
        assert row["worst_rate"] == pytest.approx(refused[worst] / tried[worst])
        assert row["worst_rate"] == pytest.approx(max(refused[ip] / tried[ip] for ip in tried))
        if len(tried) > 1:
            others = (sum(refused.values()) - refused[worst]) / (sum(tried.values()) - tried[worst])
            assert row["rate_of_others"] == pytest.approx(others)
            assert (row["finding"] == "one IP") == (row["worst_rate"] >= 3 * row["rate_of_others"])


def test_delivery_times(warehouse: Warehouse) -> None:
    """The percentile of the messages themselves lies in the bucket in which the answer lies."""
    taken: dict[str, list[float]] = defaultdict(list)
    rows = marts.read(
        warehouse.database,
        """select
            min_by(provider, (event_at, event_id)) filter (event_type = 'delivered') as provider,
            floor(epoch(min(event_at) filter (event_type = 'delivered')) - epoch(min(event_at)))
        from marts.fct_delivery_events group by message_recipient_id having provider is not null""",
    )
    for provider, seconds in rows:
        taken[provider].append(seconds)
    bounds = [
        row[0]
        for row in marts.read(warehouse.database, "select distinct seconds_from from marts.rpt_delivery_times_daily")
    ]
    answers = {row["provider"]: row for row in ask(warehouse.database, "delivery take")}
    assert set(answers) == set(taken) > {"other"}
    for provider, answer in answers.items():
        assert answer["delivered_count"] == len(taken[provider])
        for share, column in ((0.5, "median_seconds"), (0.9, "p90_seconds"), (0.99, "p99_seconds")):
            exact = sorted(taken[provider])[math.ceil(share * len(taken[provider])) - 1]
            start = max(bound for bound in bounds if bound < answer[column] or bound == 0)
            assert start <= exact <= min((bound for bound in bounds if bound > start), default=math.inf)
            assert answer[column] <= 2 * max(exact, 1) + 1


def test_who_became_hard_bounced(warehouse: Warehouse) -> None:
    """In the samples no administrator takes an address off: it is whoever was refused for good for the first time."""
    expected = marts.read(
        warehouse.database,
        f"""select recipient, response_text from marts.fct_bounces
        where is_final and bounce_class = 'hard'
        qualify row_number() over (partition by recipient order by event_at, event_id) = 1 and event_date = '{YESTERDAY}'
        order by all""",
    )
    assert len(expected) > 2
    found = ask(warehouse.database, "became hard bounced yesterday")
    assert sorted((row["address"], row["response_text"]) for row in found) == expected


def test_sends_to_suppressed_addresses(warehouse: Warehouse) -> None:
    first_refused: dict[str, Any] = {}
    refusals = "select recipient, event_at from marts.fct_bounces where is_final and bounce_class = 'hard' order by 2"
    for recipient, at in marts.read(warehouse.database, refusals):
        first_refused.setdefault(recipient, at)
    messages: dict[str, set[Any]] = defaultdict(set)
    sent = """
        select recipient, message_recipient_id, event_at, messages.first_event_at
        from marts.fct_delivery_events join marts.fct_messages as messages using (message_recipient_id, recipient)
        where is_attempt"""
    for recipient, message, at, begun_at in marts.read(warehouse.database, sent):
        if recipient in first_refused and at > first_refused[recipient] < begun_at:
            messages[recipient].add(message)
    assert len(messages) > 10
    found = ask(warehouse.database, "although suppressed")
    assert {row["recipient"]: row["message_count"] for row in found} == {
        recipient: len(chosen) for recipient, chosen in messages.items()
    }


def test_what_ended_undelivered(warehouse: Warehouse) -> None:
    expected = marts.read(
        warehouse.database,
        """select cause, reason, count(*) from marts.fct_messages
        where outcome = 'undelivered' and undelivered_at >= '2026-03-02' and undelivered_at < '2026-03-09'
        group by all""",
    )
    found: dict[tuple[str, str | None], int] = defaultdict(int)
    for row in ask(warehouse.database, "ended undelivered"):
        found[row["cause"], row["reason"]] += row["undelivery_count"]
    assert found == {(cause, reason): count for cause, reason, count in expected}
    assert len(found) > 5


@pytest.fixture(scope="module")
def eventful(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published samples, with what they lack: a day that changed, totals of a provider, an unknown reply."""
    path = tmp_path_factory.mktemp("eventful") / "bouncehouse.duckdb"
    shutil.copy(warehouse.database, path)
    with duckdb.connect(path) as connection:
        connection.execute(
            """
            insert into marts.ops_restatements by name
            select date '2026-03-04' as event_date, 'ses' as source_name, 'delivered_count' as figure, 7 as old_value,
                9 as new_value, build_id
            from marts.ops_publication
            union all
            select date '2026-03-03', 'ses', 'delivered_count', 1, 2, 'an older one';
            insert into marts.ops_provider_totals values
                ('ses', '2026-03-04', 'delivered_count', 9, 9, 0), ('ses', '2026-03-05', 'delivered_count', 9, 7, -2);
            insert into marts.ops_unclassified_texts by name
            select '550 xyzzy' as bounce_text, 'other' as provider, 'none' as evidence, 3 as recent_bounce_count;
            update marts.ops_reconciliation set difference_count = 4
            where source_file = (select min(source_file) from marts.ops_reconciliation where source_name = 'exim')
            """
        )
    return path


def test_days_that_changed(warehouse: Warehouse, eventful: Path) -> None:
    assert ask(warehouse.database, "published days changed") == []
    [row] = ask(eventful, "published days changed")
    assert (row["event_date"], row["old_value"], row["new_value"]) == (date(2026, 3, 4), 7, 9)


def test_unclassified(eventful: Path) -> None:
    assert ask(eventful, "unclassified")[0]["bounce_text"] == "550 xyzzy"


def test_freshness_and_totals(warehouse: Warehouse, eventful: Path) -> None:
    rows = {row["source_name"]: row for row in ask(warehouse.database, "source fresh")}
    sources = marts.read(
        warehouse.database, "select source_name, max(event_at) from marts.fct_delivery_events group by 1"
    )
    assert len(rows) == len(sources) == 11
    newest = max(at for _, at in sources)
    for source, at in sources:
        hours = (
            newest.replace(minute=0, second=0, microsecond=0) - at.replace(minute=0, second=0, microsecond=0)
        ).total_seconds()
        assert (rows[source]["hours_behind"], rows[source]["difference_count"]) == (hours // 3600, 0)
        assert (rows[source]["compared_figures"], rows[source]["provider_differences"]) == (0, None)
    rows = {row["source_name"]: row for row in ask(eventful, "source fresh")}
    assert rows["exim"]["difference_count"] == 4
    assert rows["ses"]["compared_figures"] == 2
    assert rows["ses"]["provider_differences"] == [
        {"date": date(2026, 3, 5), "figure": "delivered_count", "provider": 9, "own": 7}
    ]
