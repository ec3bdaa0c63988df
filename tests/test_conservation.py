"""The conservation laws: they hold for every file, and each is seen to fail where it is broken."""

import shutil

import duckdb
import pytest

from flows.settings import Settings
from flows.work import open_work
from tests import marts
from tests.conftest import Warehouse, find_code, run_all, write_events

pytestmark = pytest.mark.xdist_group("invariants")

A_FILE = (
    "where file_digest = (select min(file_digest) from intermediate.int_files__accounted where source_name = 'ses')"
)
AN_EVENT = "where event_id = (select min(event_id) from marts.marts.fct_delivery_events where source_name = 'ses')"
BREACHES = {
    "a record lost while landing": f"update intermediate.int_files__accounted set records_read = records_read + 1 {A_FILE}",
    "a record landed twice": f"update intermediate.int_files__accounted set records_landed = records_landed + 1 {A_FILE}",
    "a reject that nobody can look at": """delete from intermediate.int_rejects__collected
        where file_digest = (select min(file_digest) from intermediate.int_rejects__collected)""",
    "a record lost while staging": f"""update intermediate.int_files__accounted
        set ignored_record_count = ignored_record_count - 1 {A_FILE}""",
    "an event of no record": f"""update intermediate.int_files__accounted
        set distinct_event_count = 0, staged_event_count = 0 {A_FILE}""",
    "an event lost while deriving": f"delete from marts.marts.fct_delivery_events {AN_EVENT}",
    "an event doubled while deriving": f"insert into marts.marts.fct_delivery_events select * from marts.marts.fct_delivery_events {AN_EVENT}",
    "an event lost while uniting": f"delete from intermediate.int_staged_events__collected {AN_EVENT}",
    "a report lost while joining": """delete from intermediate.int_report_links__found
        where event_id = (select min(event_id) from intermediate.int_report_links__found where report_source_name = 'dsn')""",
}


@pytest.fixture(scope="module")
def work(generated: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of the private databases, under their own names, by which the compiled SQL calls them."""
    copy = Settings(home=tmp_path_factory.mktemp("broken"))
    shutil.copy(generated.settings.work_database, copy.work_database)
    shutil.copy(generated.settings.marts_database, copy.marts_database)
    return copy


def reconcile(connection: duckdb.DuckDBPyConnection, generated: Warehouse) -> list[tuple]:
    """The files of which something is missing, with their events counted anew."""
    counted, accounts = (find_code(generated, model) for model in ("int_file_events__counted", "ops_reconciliation"))
    kept = '"work"."intermediate"."int_file_events__counted"'
    assert kept in accounts
    return connection.execute(
        f"select source_file from ({accounts.replace(kept, f'({counted})')}) where difference_count <> 0"
    ).fetchall()


@pytest.mark.parametrize("breach", BREACHES)
def test_each_law_stands(generated: Warehouse, work: Settings, breach: str) -> None:
    with open_work(work) as connection:
        assert reconcile(connection, generated) == []
        connection.execute("begin")
        connection.execute(BREACHES[breach])
        assert len(reconcile(connection, generated)) == 1
        connection.execute("rollback")


@pytest.mark.parametrize(
    ("count", "missed"),
    [
        ("event_count", f"delete from marts.marts.fct_delivery_events {AN_EVENT}"),
        ("bounce_count", "delete from marts.marts.rpt_bounces_daily where rowid = (select min(rowid) from marts.marts.rpt_bounces_daily)"),
        ("attempt_count", "update marts.marts.rpt_delivery_daily set attempt_count = 0 where attempt_count > 0"),
        ("suppressed_send_count", "delete from marts.marts.fct_suppressed_sends"),
        ("undelivered_count", """update marts.marts.fct_messages set undelivered_date = undelivered_date + 90
        where rowid = (select min(rowid) from marts.marts.fct_messages where outcome = 'undelivered')"""),
    ],
)  # fmt: skip
def test_a_day_that_was_not_counted_again_shows(generated: Warehouse, work: Settings, count: str, missed: str) -> None:
    """What is kept by day is compared with all events, and with what became of their messages, at each build."""
    compiled = find_code(generated, "assert_days_equal_events")
    with open_work(work) as connection:
        assert connection.execute(compiled).fetchall() == []
        connection.execute("begin")
        connection.execute(missed)
        kept, told = (
            connection.execute(f"select event_date, {count} from ({compiled}) where {side} order by all").fetchall()
            for side in ("is_kept", "not is_kept")
        )
        connection.execute("rollback")
    assert kept != told


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two builds, the second of which counts one day of two anew, and reads the events of no other to test."""
    settings = Settings(home=tmp_path_factory.mktemp("continued"))
    ended = [(kind, f"{kind}@a.example") for kind in ("delivered", "bounced")]
    for day in ("02", "20"):
        write_events(settings, day, *((kind, f"2026-03-{day}T08:00:00Z", to, f"{to}-{day}") for kind, to in ended))
        warehouse = run_all(settings)
    return warehouse


A_TOUCHED_DAY, ANOTHER_DAY = "where event_date = '2026-03-20'", "where event_date = '2026-03-02'"


@pytest.mark.parametrize(
    ("missed", "days"),
    [
        (f"delete from marts.marts.fct_delivery_events {A_TOUCHED_DAY}", [None, "2026-03-20"]),
        (f"delete from marts.marts.fct_delivery_events {ANOTHER_DAY}", [None]),
        (f"insert into marts.marts.fct_delivery_events from marts.marts.fct_delivery_events {ANOTHER_DAY}", [None]),
        (f"delete from intermediate.int_file_events__counted {ANOTHER_DAY}", [None, "2026-03-02"]),
        (f"delete from marts.marts.rpt_bounces_daily {ANOTHER_DAY}", ["2026-03-02"]),
        (f"delete from marts.marts.rpt_bounces_daily {A_TOUCHED_DAY}", ["2026-03-20"]),
        (f"update marts.marts.rpt_delivery_daily set attempt_count = 9 {ANOTHER_DAY}", ["2026-03-02"]),
        (f"update marts.marts.rpt_delivery_daily set attempt_count = 9 {A_TOUCHED_DAY}", ["2026-03-20"]),
        (f"update marts.marts.rpt_delivery_daily set undelivered_count = 9 {ANOTHER_DAY}", ["2026-03-02"]),
        (f"update marts.marts.rpt_delivery_daily set suppressed_send_count = 9 {ANOTHER_DAY}", ["2026-03-02"]),
    ],
)  # fmt: skip
def test_a_build_that_reads_the_events_of_its_days_holds_all_days_against_them(
    continued: Warehouse, missed: str, days: list[str | None]
) -> None:
    compiled = find_code(continued, "assert_days_equal_events")
    with open_work(continued.settings) as connection:
        assert connection.execute(compiled).fetchall() == []
        connection.execute("begin")
        connection.execute(missed)
        query = f"select distinct cast(event_date as varchar) as day from ({compiled}) order by day nulls first"
        found = [day for (day,) in connection.execute(query).fetchall()]
        connection.execute("rollback")
    assert found == days


@pytest.mark.parametrize(
    ("guard", "missed"),
    [
        ("bounces", f"update marts.marts.rpt_bounces_daily set bounce_count = 9 {A_TOUCHED_DAY}"),
        ("bounces", f"delete from marts.marts.fct_delivery_events {A_TOUCHED_DAY}"),
        ("non_deliveries", "update marts.marts.rpt_undeliveries_daily set cause = 'expired' where undelivered_date = '2026-03-20'"),
        ("non_deliveries", "delete from marts.marts.fct_messages where undelivered_at >= '2026-03-20'"),
    ],
)  # fmt: skip
def test_amounts_of_the_days_that_a_build_counted_anew_are_held(continued: Warehouse, guard: str, missed: str) -> None:
    compiled = find_code(continued, f"assert_report_amounts_equal_{guard}")
    with open_work(continued.settings) as connection:
        assert connection.execute(compiled).fetchall() == []
        connection.execute("begin")
        connection.execute(missed)
        found = connection.execute(compiled).fetchall()
        connection.execute("rollback")
    assert found


def test_an_event_that_a_file_repeats_counts_once_in_it(work: Settings) -> None:
    """Else the reconciliation would bear with an event that is counted twice."""
    with open_work(work) as connection:
        kept, told = (
            set(connection.execute(query).fetchall())
            for query in (
                "select file_digest, staged_event_count, distinct_event_count from intermediate.int_files__accounted"
                " where staged_event_count > 0",
                "select file_digest, count(event_type), count(distinct event_id)"
                " from intermediate.int_staged_events__collected where event_type is not null group by file_digest",
            )
        )
    assert kept == told
    assert any(staged > distinct for _, staged, distinct in kept)


def test_everything_that_was_read_is_accounted_for(generated: Warehouse) -> None:
    rows = marts.read(
        generated.database,
        """select
            count(*), sum(difference_count),
            sum(records_read) = sum(records_rejected) + sum(event_record_count) + sum(ignored_record_count),
            sum(staged_event_count) = sum(duplicate_count) + sum(united_event_count),
            sum(injected_count + delivered_count + deferred_count + bounced_count + expired_count + dropped_count
                + out_of_band_bounce_count + complaint_count) = (select count(*) from marts.fct_delivery_events),
            count(*) filter (duplicate_count > 0) > 0,
            count(*) filter (joined_report_count > 0) > 0
        from marts.ops_reconciliation""",
    )
    [(files, differences, *laws)] = rows
    assert files == marts.read(generated.database, "select count(distinct source_file) from marts.ops_loads")[0][0]
    assert differences == 0
    assert laws == [True] * 5
