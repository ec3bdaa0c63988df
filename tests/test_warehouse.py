"""The warehouse of samples/, from raw logs to the published file."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from flows.dbt_project import find_project_directory
from flows.settings import SOURCES, Settings
from tests import marts
from tests.conftest import Logs, Warehouse, run_all

pytestmark = pytest.mark.xdist_group("warehouse")

SHARED_SAMPLES = Path(__file__).parent.parent.parent / "shared" / "samples"


def test_every_source_is_read(warehouse: Warehouse) -> None:
    rows = marts.read(
        warehouse.database, "select source_name from marts.ops_sources where event_count > 100 order by 1"
    )
    assert [row[0] for row in rows] == sorted(set(SOURCES) - {"dsn"})
    assert marts.read(
        warehouse.database, "select event_count > 10 from marts.ops_sources where source_name = 'dsn'"
    ) == [(True,)]


def test_records_are_conserved_by_file_and_source(warehouse: Warehouse) -> None:
    """Read = landed + rejected; landed = events + ignored; staged events = facts + duplicates."""
    files = marts.read(
        warehouse.database,
        """select records_read, records_landed, records_rejected, event_record_count, ignored_record_count
        from marts.ops_loads""",
    )
    assert len(files) > 30
    for read, landed, rejected, events, ignored in files:
        assert read == landed + rejected
        assert landed == events + ignored
    sources = marts.read(
        warehouse.database,
        """select source_name, staged, event_count + duplicate_count, duplicate_count, rejected_count, rejects
        from marts.ops_sources
        join (select source_name, sum(staged_event_count) as staged from marts.ops_loads group by all) using (source_name)
        join (select source_name, count(*) as rejects from marts.ops_rejects group by all) using (source_name)""",
    )
    assert len(sources) == len(SOURCES)
    for _, staged, accounted, duplicates, rejected, rejects in sources:
        assert staged == accounted
        assert duplicates > 0  # the samples redeliver some records
        assert rejected == rejects > 0  # and hold some bad ones


@pytest.mark.parametrize("source", SOURCES)
def test_events_are_those_that_were_simulated(tmp_path: Path, logs: Logs, generated: Warehouse, source: str) -> None:
    """The generator wrote down what happened before it wrote the logs: the warehouse must find just that."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{generated.database}' as found (read_only)")
        # an expiry carries the last real reply, which the simulation notes at the attempt, and words of acceptance are not
        # kept; lines of a reply are joined
        columns = r"""
            source_name, recipient, event_type, event_at, from_domain, campaign_id, sending_ip,
            case when event_type in ('delivered', 'deferred', 'bounced') then coalesce(is_attempt, true) end as is_attempt,
            case when event_type in ('delivered', 'deferred', 'bounced') then smtp_code end as smtp_code,
            case when event_type in ('deferred', 'bounced') then trim(regexp_replace(
                regexp_replace(response_text, '(^|\s)\d{3}[ -](\d\.\d+\.\d+ )?', ' ', 'g'), '\s+', ' ', 'g'
            )) end as reply
        """
        for one, other in (("truth", "facts"), ("facts", "truth")):
            rows = connection.execute(
                f"""with truth as (select {columns} from '{logs.truth}' where source_name = '{source}'),
                facts as (select {columns} from found.marts.fct_delivery_events where source_name = '{source}')
                from {one} except all from {other} limit 5"""
            ).fetchall()
            assert rows == []


def test_report_marts_add_up_to_the_facts(warehouse: Warehouse) -> None:
    assert marts.read(warehouse.database, "select sum(bounce_count) from marts.rpt_bounces_daily") == marts.read(
        warehouse.database, "select count(*) from marts.fct_bounces"
    )
    assert marts.read(
        warehouse.database, "select sum(undelivery_count) from marts.rpt_undeliveries_daily"
    ) == marts.read(warehouse.database, "select count(*) from marts.fct_messages where outcome = 'undelivered'")
    assert marts.read(warehouse.database, "select count(*) > 100 from marts.fct_bounces") == [(True,)]


def test_report_rows_equal_a_count_over_the_facts(warehouse: Warehouse) -> None:
    """Row by row, not only in sum."""
    keys = (
        "event_date, source_name, campaign_id, from_domain, sending_ip, recipient_domain, provider,"
        " bounce_class, text_id, reason"
    )
    assert (
        marts.read(
            warehouse.database,
            f"""select * from marts.rpt_bounces_daily
            except select {keys}, count(*) from marts.fct_bounces group by {keys}""",
        )
        == []
    )


def test_hard_bounces_mark_the_profile_and_fill_the_list(warehouse: Warehouse) -> None:
    refused = "select recipient from marts.fct_bounces where is_final and bounce_class = 'hard'"
    listed = "select address from marts.dim_suppressed_addresses"
    marked = "select address from marts.dim_profiles where profile_status = 'hard_bounced'"
    for one, other in ((refused, listed), (listed, refused), (listed, marked), (marked, listed)):
        assert marts.read(warehouse.database, f"{one} except {other}") == []
    assert marts.read(warehouse.database, f"select count(*) > 20 from ({listed})") == [(True,)]


def test_soft_bounces_change_no_status(warehouse: Warehouse) -> None:
    rows = marts.read(
        warehouse.database,
        """select profile_status, count(*) from marts.dim_profiles
        where address in (select recipient from marts.fct_bounces where bounce_class = 'soft')
        and address not in (select recipient from marts.fct_bounces where bounce_class = 'hard')
        group by all""",
    )
    assert [status for status, _ in rows] == ["active"]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        (
            "421 Message source blocked temporarily. One or more sender authentication rules matched.",
            "auth_failed",
            "DMARC",
        ),
        ("421 Service Temporarily Unavailable", "system_error", "maintenance"),
        ("451 Please try again later", "system_error", "maintenance"),
        (
            "451 <EMAIL>: Recipient address rejected: Intentional policy rejection, please try again later",
            "policy_rejected",
            "reputation",
        ),
        (
            "450 <EMAIL>: Sender address rejected: Greylisted for 120 seconds! Please, see <URL>",
            "rate_limited",
            "retried",
        ),
        ("452 4.2.2 <EMAIL>: Recipient address rejected: mailbox is over quota", "mailbox_full", "quota"),
        ("552 5.3.4 Message size exceeds fixed limit", "message_too_large", "larger"),
    ],
)
def test_first_replies_come_out_right(warehouse: Warehouse, text: str, reason: str, words: str) -> None:
    rows = marts.read(
        warehouse.database,
        f"select reason, description, sample_text from marts.dim_bounce_texts where bounce_text = '{text}'",
    )
    assert [row[0] for row in rows] == [reason]
    assert words in rows[0][1]
    assert "<EMAIL>" not in rows[0][2]


def test_texts_show_no_recipient(warehouse: Warehouse) -> None:
    assert (
        marts.read(
            warehouse.database,
            """select bounce_text from marts.dim_bounce_texts
            join (select distinct text_id, recipient from marts.fct_bounces) using (text_id)
            where contains(lower(bounce_text), recipient)""",
        )
        == []
    )


def test_what_a_source_does_not_log_is_null(warehouse: Warehouse) -> None:
    assert marts.read(
        warehouse.database,
        "select count(sending_ip), count(mx_host) > 0 from marts.fct_delivery_events where source_name = 'postfix'",
    ) == [(0, True)]
    assert marts.read(
        warehouse.database, "select count(mx_host) from marts.fct_delivery_events where source_name = 'ses'"
    ) == [(0,)]


def test_published_file_opens_with_older_clients(warehouse: Warehouse) -> None:
    """The storage version stands in the file's first header: magic `DUCK` at byte 8, the version after it."""
    magic, version = struct.unpack_from("<4sQ", warehouse.database.read_bytes()[:64], 8)
    assert magic == b"DUCK"
    assert version <= 66  # DuckDB 1.3


def test_analysts_can_classify_in_sql(warehouse: Warehouse) -> None:
    [(judgement,)] = marts.read(
        warehouse.database, "select marts.classify_bounce('550 5.1.1 <a@b.example>: User unknown', null)"
    )
    assert judgement["reason"] == "user_unknown"
    assert judgement["suppress"] is True


def test_published_marts_are_those_that_are_described(warehouse: Warehouse) -> None:
    """YAML, database and comments agree on every mart and column."""
    described = {}
    for path in (find_project_directory() / "models" / "marts").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text())["models"]:
            described[model["name"]] = [(column["name"], column["data_type"]) for column in model["columns"]]
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind, comment in marts.read(
        warehouse.database,
        """select table_name, column_name, lower(data_type), comment from duckdb_columns()
        where schema_name = 'marts' and table_name <> 'ops_publication' order by table_name, column_index""",
    ):
        found.setdefault(table, []).append((column, kind))
        assert comment, f"{table}.{column} has no description"
    assert found == described


def test_models_tell_the_personas(warehouse: Warehouse) -> None:
    """dbt's unit tests, on the built warehouse."""
    project = find_project_directory()
    ran = subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "--no-use-colors", "test",
         "--select", "test_type:unit", "--project-dir", str(project), "--profiles-dir", str(project),
         "--target-path", str(warehouse.settings.state / "dbt-unit"), "--log-path", str(warehouse.settings.state / "dbt-unit")],
        env={**os.environ, "BOUNCEHOUSE_WORK_DATABASE": str(warehouse.settings.work_database), "DO_NOT_TRACK": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-5000:]
    assert "ERROR=0" in ran.stdout
    passed = int(ran.stdout.split("PASS=")[1].split()[0])
    assert passed >= 9


@pytest.mark.skipif(not SHARED_SAMPLES.is_dir(), reason="needs ../shared/samples beside the checkout")
def test_every_record_of_the_shared_samples_is_accounted_for(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for source in set(SOURCES) - {"events"}:
        (inbox / source).symlink_to(SHARED_SAMPLES / source, target_is_directory=True)
    built = run_all(Settings(home=tmp_path / "home", inbox_directory=inbox))
    files = marts.read(
        built.database,
        "select records_read, records_landed, records_rejected, event_record_count, ignored_record_count from marts.ops_loads",
    )
    assert len(files) == len({path.read_bytes() for path in SHARED_SAMPLES.rglob("*") if path.is_file()}) - 1
    assert all(
        read == landed + rejected and landed == events + ignored for read, landed, rejected, events, ignored in files
    )
    assert marts.read(built.database, "select count(*) from marts.ops_rejects where reason is null") == [(0,)]


def test_views_over_marts_are_published_as_views(warehouse: Warehouse, tmp_path: Path) -> None:
    """They work wherever the file lies, and under whatever name it is attached; those over anything private are tables."""
    moved = tmp_path / "moved.duckdb"
    shutil.copy(warehouse.database, moved)
    views = "select view_name from duckdb_views() where schema_name = 'marts' order by 1"
    assert [name for (name,) in marts.read(moved, views)] == ["fct_bounces", "fct_non_deliveries", "rpt_delivery_rates"]
    with duckdb.connect() as connection:
        connection.execute(f"attach '{moved}' as elsewhere (read_only)")
        counted = "select sum(delivered_count) from elsewhere.marts.{}"
        [(of_view,)] = connection.execute(counted.format("rpt_delivery_rates")).fetchall()
        assert of_view > 1000
        assert connection.execute(counted.format("rpt_delivery_daily")).fetchall() == [(of_view,)]
        comment = "select comment from duckdb_views() where view_name = 'rpt_delivery_rates'"
        assert "Rates of rpt_delivery_daily" in str(connection.execute(comment).fetchall())


def test_messages_that_are_made_at_once_lie_by_day(warehouse: Warehouse) -> None:
    """Of what lies in no order the engine can pass over nothing, whatever days it is asked for."""
    earlier = """select count(*) from (
        select first_event_date < lag(first_event_date) over (order by rowid) as is_earlier from marts.fct_messages
    ) where is_earlier"""
    assert marts.read(warehouse.database, earlier) == [(0,)]


def test_delivery_counts_equal_the_facts(warehouse: Warehouse) -> None:
    """Each count of the daily mart is a count over facts, by day; delivery times have each accepted message once."""
    day = "event_date, source_name, recipient_domain, provider"
    for figure, fact, condition, date_column in (
        ("hard_bounce_count", "fct_bounces", "bounce_class = 'hard'", "event_date"),
        ("soft_bounce_count", "fct_bounces", "bounce_class = 'soft'", "event_date"),
        ("undelivered_count", "fct_non_deliveries", "true", "undelivered_date"),
        ("suppressed_send_count", "fct_suppressed_sends", "true", "event_date"),
        ("complaint_count", "fct_delivery_events", "event_type = 'complaint'", "event_date"),
        (
            "bounced_first_attempt_count",
            "fct_delivery_events",
            "event_type = 'bounced' and attempt_number = 1",
            "event_date",
        ),
    ):
        counted = f"""
            select {date_column} as event_date, source_name, recipient_domain, provider, count(*)
            from marts.{fact} where {condition} group by all order by all"""
        rows = marts.read(
            warehouse.database,
            f"select {day}, sum({figure}) as n from marts.rpt_delivery_daily group by all having n > 0 order by all",
        )
        assert rows == marts.read(warehouse.database, counted)
        assert len(rows) > 5
    assert marts.read(
        warehouse.database,
        "select provider, sum(delivered_count) from marts.rpt_delivery_times_daily group by 1 order by 1",
    ) == marts.read(
        warehouse.database,
        """with first as (
            select provider from marts.fct_delivery_events where event_type = 'delivered'
            qualify row_number() over (partition by message_recipient_id order by event_at, event_id) = 1
        )
        select provider, count(*) from first group by 1 order by 1""",
    )
