"""What is older than the retention period goes; reports, lists, profiles and accounts stay as they were."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from pkgutil import resolve_name
from uuid import UUID

import duckdb
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from flows import build, landing, publish, retention
from flows.cli import app
from flows.problems import ActionableError
from flows.report import Selection, report
from flows.retained import find_retained
from flows.settings import Settings
from flows.shrinking import Shrunk, shrink_table
from flows.suppression.questions import find_history
from flows.suppression.recovery import Recovery
from flows.suppression.recovery import preview as preview_recovery
from flows.work import open_work
from tests import marts
from tests.conftest import Warehouse, land_all

pytestmark = pytest.mark.xdist_group("invariants")

NOW = datetime(2026, 3, 7, 6, tzinfo=UTC)
"""The logs are of March 2 to 6, and their retries of some days more: with two days kept, what ended before the 5th goes."""

MESSAGES = {
    "fct_delivery_events", "fct_bounces", "fct_report_links", "fct_messages", "fct_non_deliveries", "fct_suppressed_sends",
}  # fmt: skip
"""Marts that speak of single messages, and lose those that went."""
WITH_SAMPLES = {"dim_bounce_texts", "rpt_new_bounce_texts", "ops_unclassified_texts"}
"""Marts that show an original reply of each text, of which another is the first that is kept."""


def retained_files(settings: Settings) -> list[Path]:
    """Every Parquet file of what is retained."""
    retained = find_retained(settings)
    return sorted(retained.folder.glob("*.parquet")) if retained else []


def copy_home(built: Warehouse, home: Path) -> Settings:
    """A home of its own with all that a built one has, and a retention period."""
    shutil.copytree(built.settings.root, home)
    return Settings(home=home, inbox_directory=built.settings.inbox, retention_days=2)


def drop_and_build(settings: Settings, now: datetime = NOW) -> retention.Plan | None:
    plan = retention.drop_old(settings, now)
    build.build(settings)
    publish.publish(settings)
    return plan


@pytest.fixture(scope="module")
def aged(generated: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The generated logs, with all dropped that ended before March 5."""
    settings = copy_home(generated, tmp_path_factory.mktemp("aged") / "home")
    plan = drop_and_build(settings)
    assert plan is not None
    assert plan.events > 1000
    assert plan.files > 0
    return settings


def differences(before: Path, after: Path) -> dict[str, list[tuple]]:
    """As `marts.differences`, of what is to be the same: neither single messages nor the choice of samples."""
    found = marts.differences(before, after)
    for mart in WITH_SAMPLES & set(found):
        query = f"select * exclude (sample_text) from marts.{mart} order by all"
        if marts.read(before, query) == marts.read(after, query):
            del found[mart]
    return {mart: rows for mart, rows in found.items() if mart not in MESSAGES}


def test_reports_lists_and_profiles_stay(generated: Warehouse, aged: Settings) -> None:
    assert differences(generated.database, aged.published_database) == {}
    for selection in (
        Selection(date(2026, 3, 1), date(2026, 3, 31), bounce_class="all"),
        Selection(date(2026, 3, 2), date(2026, 3, 4), group_by="sending_ip"),
        Selection(date(2026, 3, 1), date(2026, 4, 30), bounce_class="all", is_undeliveries=True),
    ):
        before, after = (
            report(path, selection).drop_columns("sample_message")
            for path in (generated.database, aged.published_database)
        )
        assert before.num_rows > 10
        assert before.equals(after)


def test_the_build_after_a_pass_counts_no_day_anew(aged: Settings) -> None:
    """Nothing has landed, and by which links of reports the messages that stay were judged is known."""
    with open_work(aged) as connection:
        [(links,)] = connection.execute(
            "select count(*) from intermediate.int_report_links__found where linked_by is not null"
        ).fetchall()
        touched = connection.execute("from intermediate.int_event_dates__touched").fetchall()
    assert links > 0
    assert touched == []


def test_messages_that_ended_before_go_and_no_others(generated: Warehouse, aged: Settings) -> None:
    """The unit is the message with all that is bound to it: what of it is older stays as long as anything is younger."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{generated.database}' as before (read_only)")
        connection.execute(f"attach '{aged.published_database}' as after (read_only)")
        left = "from before.marts.fct_delivery_events anti join after.marts.fct_delivery_events using (event_id)"
        [(gone, last)] = connection.execute(f"select count(*), max(event_at) {left}").fetchall()
        assert gone > 1000
        assert last < datetime(2026, 3, 5)
        [(kept, old)] = connection.execute(
            """with ends as (
                select message_group_id, max(event_at) as ended_at from before.marts.fct_delivery_events group by 1
            )
            select count(*), count_if(event_at < '2026-03-05')
            from after.marts.fct_delivery_events join ends using (message_group_id)
            where ended_at >= '2026-03-05'"""
        ).fetchall()
        assert old > 50
        # what is older and stays is bound to a younger message
        [(others,)] = connection.execute(f"select count(*) - {kept} from after.marts.fct_delivery_events").fetchall()
        assert 0 <= others < 20


def test_records_stay_accounted_for(generated: Warehouse, aged: Settings) -> None:
    same = {
        "ops_loads": "select * exclude (dropped_at) from marts.ops_loads order by all",
        "ops_sources": "select * from marts.ops_sources order by all",
        "ops_ignored": "select * from marts.ops_ignored order by all",
    }
    for query in same.values():
        assert marts.read(aged.published_database, query) == marts.read(generated.database, query)
    rejects = "select count(*) from marts.ops_rejects where file_digest in ({})"
    dropped = "select file_digest from marts.ops_loads where dropped_at is not null"
    assert marts.read(aged.published_database, rejects.format(dropped)) == [(0,)]
    digests = [row[0] for row in marts.read(aged.published_database, dropped)]
    loads = {load.file_digest: load for load in landing.read_loads(aged)}
    assert len(loads) == len(landing.read_loads(generated.settings))
    for digest in digests:
        assert loads[digest].dropped_at
    kept = {load.landing_name for load in loads.values() if not load.dropped_at}
    assert {path.stem for path in aged.landing.rglob("*.parquet")} == kept


def test_the_ledger_still_answers_why(generated: Warehouse, aged: Settings) -> None:
    """With the replies of bounces whose events are gone; and a wave among them can be recovered as before."""
    query = """
        select distinct address from marts.fct_suppression_causes
        where cause = 'hard_bounce' and event_id not in (select event_id from marts.fct_delivery_events)"""
    gone = [row[0] for row in marts.read(aged.published_database, query)]
    assert len(gone) > 5
    replies = 0
    for address in gone[:10]:
        before, after = find_history(generated.settings, address), find_history(aged, address)
        assert before == after
        replies += sum(event["response_text"] is not None for event in after.events)
    assert replies >= len(gone[:10])
    wave = Recovery(datetime(2026, 3, 2), datetime(2026, 3, 4), pattern="5[.]1[.]1|unknown")
    assert preview_recovery(aged, wave) == preview_recovery(generated.settings, wave)
    assert preview_recovery(aged, wave).leaving > 0


def test_days_of_other_time_zones_are_told_to_be_gone(aged: Settings) -> None:
    """They are counted from the facts: a report that would lack some is no report."""
    with pytest.raises(ActionableError, match="only counts by day of UTC are kept"):
        report(aged.published_database, Selection(date(2026, 3, 2), date(2026, 3, 8), time_zone="Europe/Berlin"))
    [(facts_from,)] = marts.read(aged.published_database, "select facts_from from marts.ops_publication")
    later = Selection(facts_from, date(2026, 4, 30), time_zone="America/New_York")
    report(aged.published_database, later)


@pytest.mark.long
def test_a_rebuild_from_what_is_left_is_the_same(aged: Settings, tmp_path: Path) -> None:
    """Neither work database nor inbox is needed: landing and what is retained say it all."""
    settings = Settings(home=tmp_path / "home", retention_days=2)
    for folder in ("landing", "rejects", "retained"):
        shutil.copytree(aged.root / folder, settings.root / folder)
    build.build(settings)
    publish.publish(settings)
    assert marts.differences(aged.published_database, settings.published_database) == {}
    for mart in ("ops_loads", "ops_rejects", "ops_ignored", "ops_sources"):
        query = f"select * from marts.{mart} order by all"
        assert marts.read(settings.published_database, query) == marts.read(aged.published_database, query)


def test_what_is_dropped_is_not_landed_again_nor_dropped_twice(aged: Settings) -> None:
    before = [path.read_bytes() for path in retained_files(aged)]
    shutil.rmtree(aged.state)  # the cache may not be what prevents it
    assert land_all(aged) == []
    retention.finish(aged)
    assert retention.preview(aged, 2, NOW).is_empty
    assert retention.drop_old(aged, NOW) is None
    assert [path.read_bytes() for path in retained_files(aged)] == before
    assert not build.build(aged).is_built


def test_files_of_what_is_retained_are_their_owners_alone(aged: Settings) -> None:
    for path in retained_files(aged):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def ready(generated: Warehouse, tmp_path: Path) -> Settings:
    return copy_home(generated, tmp_path / "home")


def tables_of(settings: Settings) -> dict[str, list[tuple]]:
    """What a pass leaves in the private databases and in what is retained, but for the times at which it ran."""
    found = {}
    with open_work(settings) as connection:
        for name, table in connection.execute(
            "select database_name || '.' || schema_name, table_name from duckdb_tables() where table_name <> 'pair'"
        ).fetchall():
            found[f"{name}.{table}"] = connection.execute(f"from {name}.{table} order by all").fetchall()
    for path in retained_files(settings):
        rows = pq.read_table(path).to_pylist()
        found[path.name] = sorted(
            json.dumps({name: value for name, value in row.items() if name != "dropped_at"}, default=str)
            for row in rows
        )
    return found


def files_of(settings: Settings) -> list[str]:
    folders = [settings.landing, settings.rejects, settings.root / "retained"]
    return sorted(str(path.relative_to(settings.root)) for folder in folders for path in folder.rglob("*"))


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def unbroken(generated: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home after a whole pass, before the build."""
    settings = copy_home(generated, tmp_path_factory.mktemp("unbroken") / "home")
    assert retention.drop_old(settings, NOW) is not None
    return settings


@pytest.mark.parametrize(
    ("target", "is_done_first"),
    [
        ("flows.retention.DROPPED_GROUPS", False),
        ("flows.retention.Dropping.write", True),
        ("flows.shrinking.create_state", False),
        ("flows.shrinking.failpoint", True),  # one of the two databases is replaced
        ("flows.retention.shrink_work", True),
        ("flows.landing.loads.replace_record", True),
        ("flows.retention.drop_files", True),
    ],
)
def test_a_pass_cut_short_is_finished_by_the_next_run(
    ready: Settings, unbroken: Settings, monkeypatch: pytest.MonkeyPatch, target: str, is_done_first: bool
) -> None:
    """Killed in the middle of a step, or between two: another run ends where an unbroken one ends."""
    with monkeypatch.context() as patch:
        whole = None if target.endswith("DROPPED_GROUPS") else resolve_name(target)

        def cut_short(*arguments: object) -> None:
            if is_done_first:
                whole(*arguments)
            raise Killed

        patch.setattr(target, "no such/folder" if whole is None else cut_short)
        with pytest.raises((Killed, duckdb.IOException)):
            retention.drop_old(ready, NOW)
    if find_retained(ready) is None:
        assert retention.drop_old(ready, NOW) is not None
    else:
        retention.finish(ready)
    assert files_of(ready) == files_of(unbroken)
    assert tables_of(ready) == tables_of(unbroken)


def test_what_holds_a_message_open(tmp_path: Path) -> None:
    """Ada's bounce came apart and late, a filter gave Bob's mail back under another id, which got a report in turn.

    Emil's mail was still tried after a report on it. Cleo's has ended with its report; Dora's queue file was just removed.
    """
    group = {name: UUID(int=number) for number, name in enumerate(
        ["ada", "ada's report", "bob", "bob filtered", "bob's report", "cleo", "cleo's report", "dora", "emil", "emil's report"],
        1,
    )}  # fmt: skip
    old, young = datetime(2026, 3, 1), datetime(2026, 3, 5)
    with duckdb.connect() as connection:
        connection.execute("create schema intermediate")
        connection.execute(
            "create table intermediate.int_delivery_events__united (message_group_id uuid, event_at timestamp)"
        )
        for table in ("int_postfix__queue_facts", "int_exim__message_facts"):
            connection.execute(
                f"""create table intermediate.{table} (
                    message_group_id uuid, fact_at timestamp, fact varchar, fact_value varchar
                )"""
            )
        connection.execute(
            """create table intermediate.int_report_links__found (
                report_message_group_id uuid, message_group_id uuid, linked_by varchar
            )"""
        )
        connection.executemany(
            "insert into intermediate.int_delivery_events__united values (?, ?)",
            [(group[name], young if name in ("ada's report", "bob's report", "emil") else old) for name in group],
        )
        connection.execute(
            "insert into intermediate.int_postfix__queue_facts values (?, ?, 'origin', ?)",
            [group["bob filtered"], old, str(group["bob"])],
        )
        connection.execute(
            "insert into intermediate.int_exim__message_facts values (?, ?, 'removed', null)", [group["dora"], young]
        )
        connection.executemany(
            "insert into intermediate.int_report_links__found values (?, ?, ?)",
            [
                (group["ada's report"], group["ada"], "message_id"),
                (group["bob's report"], group["bob filtered"], "verp"),
                (group["cleo's report"], group["cleo"], "return_path"),
                (group["emil's report"], group["emil"], "message_id"),
                (group["bob's report"], group["cleo"], None),
            ],
        )
        retention.find_closed(connection, datetime(2026, 3, 3))
        closed = {row[0] for row in connection.execute("select message_group_id from closed").fetchall()}
    assert {name for name in group if group[name] in closed} == {"cleo", "cleo's report"}


def test_a_retention_period_shorter_than_what_the_policy_looks_back_is_refused() -> None:
    with pytest.raises(ValidationError, match="soft bounces are counted over 30 days"):
        Settings(retention_days=29, soft_bounce_days=3)
    assert Settings(retention_days=30, soft_bounce_days=3).retention_days == 30


def test_what_would_go_is_shown_before_it_goes(ready: Settings) -> None:
    before = files_of(ready)
    days = (datetime.now(UTC).date() - date(2026, 3, 5)).days
    shown = CliRunner().invoke(app, ["retention", "--home", str(ready.root), "--days", str(days), "--json"])
    assert shown.exit_code == 0
    plan = json.loads(shown.stdout)
    assert plan["cutoff"] == "2026-03-05T00:00:00Z"
    assert sum(source["events"] for source in plan["sources"]) > 1000
    table = CliRunner().invoke(app, ["retention", "--home", str(ready.root), "--days", str(days)])
    assert "would drop, with BOUNCEHOUSE_RETENTION_DAYS" in table.stdout
    assert files_of(ready) == before
    dropped = retention.drop_old(ready, NOW)
    assert dropped is not None
    assert [source["events"] for source in plan["sources"]] == [source.events for source in dropped.sources]


def test_retention_is_off_unless_it_is_asked_for(ready: Settings) -> None:
    settings = Settings(home=ready.root)
    before = files_of(settings)
    assert retention.drop_old(settings, NOW) is None
    assert files_of(settings) == before


def test_passes_are_made_so_many_days_apart(ready: Settings) -> None:
    """The first is made at once; until the next is due a run drops nothing, and needs not look for what it would."""
    settings = Settings(
        home=ready.root, inbox_directory=ready.inbox_directory, retention_days=2, retention_every_days=3
    )
    assert drop_and_build(settings) is not None
    assert not retention.is_due(settings, NOW + timedelta(days=2))
    before = files_of(settings)
    assert retention.drop_old(settings, NOW + timedelta(days=2)) is None
    assert files_of(settings) == before
    assert retention.is_due(settings, NOW + timedelta(days=3))
    # a shorter period is kept from the day on which it is set
    assert retention.is_due(settings.model_copy(update={"retention_days": 1}), NOW + timedelta(days=2))
    plan = retention.drop_old(settings, NOW + timedelta(days=3))
    assert plan is not None
    assert plan.cutoff == datetime(2026, 3, 8)


def test_what_is_shown_tells_from_which_day_a_run_drops_it(
    aged: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(aged.root, tmp_path / "home")
    today = datetime.now(UTC).date()
    period = (today - date(2026, 3, 5)).days
    monkeypatch.setenv("BOUNCEHOUSE_RETENTION_DAYS", str(period))
    for every, said in (
        (0, "The next run drops what ended before 2026-03-05"),
        (
            7,
            f"No run drops anything before {today + timedelta(days=7)}; today one would drop what ended before 2026-03-05",
        ),
    ):
        monkeypatch.setenv("BOUNCEHOUSE_RETENTION_EVERY_DAYS", str(every))
        shown = CliRunner().invoke(app, ["retention", "--home", str(tmp_path / "home")])
        assert shown.exit_code == 0
        assert said in " ".join(shown.stdout.split())


def test_rows_that_stay_lie_as_they_lay(tmp_path: Path) -> None:
    """By days, in row groups of the smallest size, by as many threads as there are: a join alone mixes them.

    A message that went may have a copy of a later day than the cutoff, which goes, too.
    """
    days, daily = 60, 2_048
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path / 'old.duckdb'}' as old_marts (row_group_size 2048)")
        connection.execute(f"attach '{tmp_path / 'new.duckdb'}' as marts (row_group_size 2048)")
        connection.execute("create schema old_marts.marts; create schema marts.marts")
        connection.execute(
            f"""create table old_marts.marts.fct_messages as
            select
                md5(range::varchar)::uuid as message_group_id,
                case when range % 5000 > 0 then date '2026-01-01' + (range // {daily})::integer end as first_event_date,
                range as place
            from range({days * daily}) order by place"""
        )
        # half of the first half, as of messages that ended early, and one of later days
        connection.execute(
            f"""create table dropped_groups as
            select message_group_id from old_marts.marts.fct_messages
            where
                place < {days * daily // 2} and (place % 2 = 0 or first_event_date is null)
                or place = {days * daily * 3 // 4 + 1}"""
        )
        cutoff = date(2026, 1, 1) + timedelta(days=days // 2)
        shrink_table(connection, Shrunk("marts.fct_messages", day="first_event_date"), cutoff)
        [(rows, mixed)] = connection.execute(
            """select count(*), count_if(place < former)
            from (select place, lag(place) over (order by rowid) as former from marts.marts.fct_messages
                where first_event_date is not null)"""
        ).fetchall()
        kept = connection.execute(
            "select count(*) from old_marts.marts.fct_messages anti join dropped_groups using (message_group_id)"
            " where first_event_date is not null"
        ).fetchall()
        without_day = connection.execute(
            "select count(*) from marts.marts.fct_messages where first_event_date is null"
        ).fetchall()
    assert [(rows,)] == kept
    assert mixed == 0
    assert without_day == [(days * daily // 2 // 5000,)]


def test_what_is_retained_may_not_be_lost(ready: Settings) -> None:
    """A build without it would publish a past that is not there any more."""
    retention.drop_old(ready, NOW)
    shutil.rmtree(ready.root / "retained")
    with pytest.raises(ActionableError, match="what it retained of them is gone"):
        build.build(ready)


def read_everything(settings: Settings) -> bytes:
    """All that a home says, the inbox apart: every row of its databases and Parquet files, and the bytes of every file."""
    said: list[bytes] = []
    for path in sorted(path for path in settings.root.rglob("*") if path.is_file()):
        said.append(path.read_bytes())
        if path.suffix == ".parquet":
            said += [str(row).encode() for row in pq.read_table(path).to_pylist()]
        if path.suffix == ".duckdb":
            with duckdb.connect() as connection:
                connection.execute(f"attach '{path}' as read (read_only)")
                for schema, table in connection.execute(
                    "select schema_name, table_name from duckdb_tables()"
                ).fetchall():
                    rows = connection.execute(f'from read."{schema}"."{table}"').fetchall()
                    said += [str(row).encode() for row in rows]
    return b"\n".join(said)


@pytest.mark.torture
def test_nothing_of_anybody_is_left_but_what_bears_on_a_list(
    generated: Warehouse, aged: Settings, tmp_path: Path
) -> None:
    """A second pass, a year later: all messages go, all landed files, and the same is reported as on the first day.

    Then rules change, a late file comes, and goes with the pass after the next build.
    """
    shutil.copytree(aged.root, tmp_path / "home")
    settings = Settings(home=tmp_path / "home", inbox_directory=tmp_path / "inbox", retention_days=2)
    plan = drop_and_build(settings, datetime(2027, 3, 7, tzinfo=UTC))
    assert plan is not None
    left = sorted(path.name for path in settings.landing.glob("[a-z]*/*.parquet"))
    assert left == []
    assert list(settings.rejects.rglob("*.parquet")) == []
    retained = find_retained(settings)
    assert retained is not None
    assert pq.read_metadata(retained.path("event_keys")).num_rows == 0
    assert marts.read(settings.published_database, "select count(*) from marts.fct_delivery_events") == [(0,)]
    assert find_lost(generated.database, settings.published_database) == {}
    # ids of messages, the return paths that are made for one each, and whoever bears on no list
    with duckdb.connect() as connection:
        connection.execute(f"attach '{generated.database}' as before (read_only)")
        names = connection.execute(
            """select name from (
                select unnest([message_id, envelope_sender, recipient]) as name from before.marts.fct_delivery_events
            )
            where
                length(name) > 12
                and name not in (select address from before.marts.fct_suppression_causes)
                and not exists (
                    select 1 from before.marts.fct_suppression_causes where contains(response_text, name)
                )
            group by name
            order by hash(name)"""
        ).fetchall()
    assert len(names) > 1000
    said = read_everything(settings)
    assert [name for (name,) in names[::5] if name.encode() in said] == []

    with duckdb.connect(settings.work_database) as connection:
        connection.execute("update landing.builds set rule_set_version = 'older'")
    build.build(settings)
    publish.publish(settings)
    assert find_lost(generated.database, settings.published_database) == {}

    late = settings.inbox / "events" / "late.jsonl"
    late.parent.mkdir(parents=True)
    late.write_text(
        '{"event_type": "bounced", "event_at": "2026-03-03T08:00:00Z", "recipient": "ada@late.example",'
        ' "message_id": "late-1", "smtp_code": 550, "response_text": "550 5.1.1 no such user"}\n'
    )
    request = settings.inbox / "sendgrid" / "late.json"
    request.parent.mkdir()
    request.write_text('{"event": "unsubscribe", "email": "olga@late.example", "timestamp": 1772524800}\n')
    bounces = "select sum(bounce_count) from marts.rpt_bounces_daily where event_date = '2026-03-03'"
    [(before,)] = marts.read(settings.published_database, bounces)
    assert len(late_loads := land_all(settings)) == 2
    drop_and_build(settings, datetime(2027, 3, 8, tzinfo=UTC))  # nothing that is built is left to go
    assert marts.read(settings.published_database, "select recipient from marts.fct_bounces") == [("ada@late.example",)]
    for _ in range(2):
        assert marts.read(settings.published_database, bounces) == [(before + 1,)]
        found = find_history(settings, "ada@late.example")
        assert [event["response_text"] for event in found.events] == ["550 5.1.1 no such user"]
        assert find_history(settings, "olga@late.example").states["global"] is not None
        drop_and_build(settings, datetime(2027, 3, 9, tzinfo=UTC))
    assert marts.read(settings.published_database, "select count(*) from marts.fct_bounces") == [(0,)]
    # amounts of days that were published, and no record of anybody
    assert list(settings.landing.rglob("*.parquet")) == [settings.restatements]
    assert b"late.example" not in settings.restatements.read_bytes()
    assert len(landing.read_loads(settings)) == len(landing.read_loads(generated.settings)) + len(late_loads)
    settings.work_database.unlink()
    build.build(settings)
    publish.publish(settings)
    assert marts.read(settings.published_database, bounces) == [(before + 1,)]
    assert find_history(settings, "olga@late.example").states["global"] is not None


def find_lost(before: Path, after: Path) -> dict[str, list[tuple]]:
    """As `differences`, where no message is left: whoever bears on no list has no profile either.

    Texts that no rule knows are looked for among the bounces that are kept, so none is found.
    """
    found = differences(before, after)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{before}' as before (read_only)")
        connection.execute(f"attach '{after}' as after (read_only)")
        for mart in ("dim_profiles", "dim_profile_history"):
            assert connection.execute(
                f"""select count(*) from (
                    (
                        from before.marts.{mart}
                        where address in (select address from before.marts.fct_suppression_causes)
                        except all from after.marts.{mart}
                    )
                    union all
                    (from after.marts.{mart} except all from before.marts.{mart})
                )"""
            ).fetchall() == [(0,)]
            found.pop(mart, None)
    found.pop("ops_unclassified_texts", None)
    return found


@pytest.mark.torture
def test_policies_that_look_back_see_what_they_saw(generated: Warehouse, tmp_path: Path) -> None:
    """Soft bounces that suppress, deliveries that take off the list again, and a policy that passes over some bounces."""
    shutil.copytree(generated.settings.root, tmp_path / "home")
    settings = Settings(
        home=tmp_path / "home",
        retention_days=2,
        suppression_policy="recipient",
        soft_bounce_days=2,
        soft_bounce_window_days=2,
        is_reactivated_on_delivery=True,
    )
    build.build(settings)
    publish.publish(settings)
    before = tmp_path / "before.duckdb"
    shutil.copy(settings.published_database, before)
    ledger = "select action, count(*) from marts.fct_suppression_events group by all"
    [(soft,)] = marts.read(before, "select count(*) from marts.fct_suppression_causes where cause = 'soft_bounces'")
    assert soft > 0
    assert dict(marts.read(before, ledger))["reactivated"] > 5
    assert drop_and_build(settings) is not None
    assert differences(before, settings.published_database) == {}
    settings.work_database.unlink()
    build.build(settings)
    publish.publish(settings)
    assert differences(before, settings.published_database) == {}


@pytest.mark.torture
def test_a_run_says_what_it_dropped(ready: Settings) -> None:
    """By the command and the flow, with the clock on the wall."""
    days = (datetime.now(UTC).date() - date(2026, 3, 5)).days
    ran = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()",
         "run", "--home", str(ready.root), "--inbox", str(ready.inbox)],
        env={**os.environ, "NO_COLOR": "1", "BOUNCEHOUSE_RETENTION_DAYS": str(days)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("Dropped")]
    assert "of messages that ended before 2026-03-05" in line
    retained = find_retained(ready)
    assert retained is not None
    assert retained.cutoff == datetime(2026, 3, 5)
    [(dropped,)] = marts.read(
        ready.published_database, "select count(*) from marts.ops_loads where dropped_at is not null"
    )
    assert dropped == len(retained.dropped_digests) > 0


@pytest.mark.torture
def test_a_killed_run_with_retention_is_finished_by_the_next(
    generated: Warehouse, tmp_path: Path, aged: Settings
) -> None:
    """SIGKILL at moments spread over the whole pass, each followed by another run, which a last one ends."""
    home = tmp_path / "home"
    shutil.copytree(generated.settings.root, home)
    script = f"""
import sys
from datetime import datetime
from pathlib import Path
from flows import build, publish, retention
from flows.settings import Settings
settings = Settings(home=Path(sys.argv[1]), retention_days=2)
print("begins", flush=True)
retention.drop_old(settings, datetime.fromisoformat({NOW.isoformat()!r}))
build.build(settings)
publish.publish(settings)
"""
    for delay in (0.3, 0.8, 1.3, 1.8, 2.3, 3.0, 4.0):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout
        assert process.stdout.readline() == b"begins\n"
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    subprocess.run([sys.executable, "-c", script, str(home)], check=True, capture_output=True)
    settings = Settings(home=home, inbox_directory=generated.settings.inbox)
    assert marts.differences(aged.published_database, settings.published_database) == {}
    assert files_of(settings) == files_of(aged)
