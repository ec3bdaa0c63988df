"""Homes that an older bouncehouse made, a newer one, or that were damaged: nothing is lost, and what to do is said."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows import build, copying, dbt_process, landing, publish, status, work, work_state
from flows.exports.exporting import export_all
from flows.landing import LandingDamagedError
from flows.problems import ActionableError
from flows.settings import Settings
from tests import marts
from tests.conftest import Warehouse, land_all, run_all
from tests.torture.homes import leftovers, read_state, run

pytestmark = pytest.mark.xdist_group("homes")

OLDEST = Path(__file__).parents[1] / "fixtures" / "home-0.1.0"

EVENTS_OF_0_1_0 = [
    ("events", "bounced", 1), ("events", "delivered", 7), ("events", "injected", 8),
    ("kumomta", "delivered", 6), ("kumomta", "injected", 6),
    ("postfix", "deferred", 2), ("postfix", "delivered", 8),
    ("ses", "delivered", 5), ("ses", "dropped", 1), ("ses", "injected", 6),
]  # fmt: skip
LIST_OF_0_1_0 = [("ben.ahlers@harbour-works.example", "hard_bounce"), ("trap@yippee.example", "administrator")]

WORK_OF_0_1_0 = """
    create schema landing;
    create table landing.builds (
        build_id varchar primary key, finished_at timestamp, file_count bigint, project_version varchar,
        rule_set_version varchar, suppression_policy varchar, suppression_settings varchar
    );
    insert into landing.builds values ('81bafca163f56723', '2026-11-23 18:57:46', 12, 'that of 0.1.0',
        'f6933972344a2817', 'smtp_5xx', '{"suppression_policy": "smtp_5xx"}');
    create table landing.built_files (file_digest varchar primary key);
    -- of a shape that no model has any more
    create schema intermediate;
    create table intermediate.int_delivery_events__united as select 'x' as event_id, 1 as gone;
"""

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
connection.execute(sys.argv[3])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The oldest home, opened by this version: its own private database is there, and is built anew."""
    home = tmp_path_factory.mktemp("oldest") / "home"
    shutil.copytree(OLDEST, home)
    (home / "inbox").mkdir()
    settings = Settings(home=home)
    with duckdb.connect(settings.work_database) as connection:
        connection.execute(WORK_OF_0_1_0)
        digests = [[load.file_digest] for load in landing.read_loads(settings)]
        connection.executemany("insert into landing.built_files values (?)", digests)
    return run_all(settings)


@pytest.fixture
def home(oldest: Warehouse, tmp_path: Path) -> Settings:
    """A copy of that home, to be damaged. Nothing of what it landed lies in its inbox."""
    shutil.copytree(oldest.settings.root, tmp_path / "home")
    return Settings(home=tmp_path / "home")


@pytest.fixture
def client(home: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody who has the published file open, as most clients open a file unless told otherwise: for writing."""
    with open_in_client(home.published_database, "write", "begin; delete from marts.fct_messages") as process:
        yield process
        process.kill()


def open_in_client(database: Path, how: str, statement: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database), how, statement], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_oldest_home_opens_and_says_what_it_published_then(oldest: Warehouse) -> None:
    (note,) = oldest.result.notes
    assert "are of an older version (the format is 0" in note
    assert "work.older.duckdb" in note
    assert "everything is built again from landing" in note
    assert oldest.result.files == 12
    events = "select source_name, event_type, count(*) from marts.fct_delivery_events group by all order by all"
    assert marts.read(oldest.database, events) == EVENTS_OF_0_1_0
    suppressed = "select address, cause from marts.dim_suppressed_addresses order by all"
    assert marts.read(oldest.database, suppressed) == LIST_OF_0_1_0
    read = "select sum(records_read), sum(records_landed), sum(records_rejected) from marts.ops_loads"
    assert marts.read(oldest.database, read) == [(111, 93, 18)]
    actions = marts.read(oldest.database, "select action_id, action from marts.ops_actions order by 1")
    assert actions == [("0c3f8a", "add"), ("0c3f8b", "add"), ("0c3f8c", "remove")]
    assert not build.build(oldest.settings).is_built


def test_a_load_record_of_a_newer_version_is_read(home: Settings) -> None:
    """A later version may say more of a load; who goes back to this one loses nothing."""
    loads = landing.read_loads(home)
    for path in home.landing.rglob("*.json"):
        record = json.loads(path.read_text())
        for load in record.get("loads", [record]):
            load["later"] = {"x": 1}
        path.write_text(json.dumps(record))
    assert landing.read_loads(home) == loads


def test_a_work_database_of_a_newer_version_is_set_aside(home: Settings) -> None:
    with duckdb.connect(home.work_database) as connection:
        connection.execute("update landing.format set format = 99")
    (note,) = work.prepare_work(home)
    assert "are of a newer version (the format is 99" in note
    assert "work.newer.duckdb and marts.newer.duckdb" in note
    assert (home.root / "work.newer.duckdb").exists()
    assert not home.work_database.exists()
    assert not home.marts_database.exists()
    assert work.prepare_work(home) == []


@pytest.mark.parametrize("name", ["work", "marts"])
@pytest.mark.parametrize(
    "damage", ["empty", "cut to half", "cut within what tells of its tables", "head", "both headers", "other"]
)
def test_a_damaged_private_database_is_set_aside(home: Settings, damage: str, name: str) -> None:
    path = home.root / f"{name}.duckdb"
    with duckdb.connect(path, read_only=True) as connection:
        block = connection.execute("select max(block_id) from pragma_metadata_info()").fetchone()
    assert block
    size = path.stat().st_size
    with path.open("rb+") as file:
        match damage:
            case "empty":
                file.truncate(0)
            case "cut to half":
                file.truncate(size // 2)
            case "cut within what tells of its tables":
                file.truncate(copying.HEADER_BYTES + (block[0] + 1) * copying.BLOCK_BYTES - 10)
            case "head":
                file.write(b"\0" * 4096)
            case "both headers":
                file.seek(4096)
                file.write(b"\0" * 8192)
            case _:
                file.truncate(0)
                file.write(b"This is no database.\n" * 1000)
    damaged = path.read_bytes()
    (note,) = work.prepare_work(home)
    assert "work.duckdb and marts.duckdb are damaged" in note
    assert "called work.damaged.duckdb and marts.damaged.duckdb" in note
    assert "built again from landing" in note
    assert (home.root / f"{name}.damaged.duckdb").read_bytes() == damaged
    assert not home.work_database.exists()
    assert not home.marts_database.exists()


def test_what_a_removed_work_database_left_behind_is_not_applied_to_the_next(home: Settings) -> None:
    home.work_database.unlink()
    wals = [home.root / "work.duckdb.wal", home.root / "marts.duckdb.wal"]
    for wal in wals:
        wal.write_bytes(b"of another database")
    assert work.prepare_work(home) == []
    assert not any(path.exists() for path in (*wals, home.marts_database))


def test_what_a_killed_dbt_spilled_is_removed(home: Settings) -> None:
    spilled = home.root / "work.duckdb.tmp"
    spilled.mkdir()
    (spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"x")
    assert work.prepare_work(home) == []
    assert not spilled.exists()


@pytest.mark.parametrize("name", ["work", "marts"])
def test_a_private_database_in_use_elsewhere_is_no_damage(
    home: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(work, "LOCK_SECONDS", 0.3)
    with open_in_client(home.root / f"{name}.duckdb", "write", "select 1") as process:
        with pytest.raises(ActionableError, match=rf"{name}\.duckdb is open .*PID {process.pid}"):
            build.build(home)
        assert home.work_database.exists()
        assert home.marts_database.exists()
        process.kill()
    assert not build.build(home).is_built


def test_a_build_waits_for_the_dbt_of_a_killed_run(home: Settings) -> None:
    """The child of a killed run ends with it, but not at the same instant."""
    with (
        open_in_client(home.work_database, "write", "select 1") as process,
        subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {process.pid}"]),
    ):
        assert not build.build(home).is_built


DAMAGES = (
    lambda parquet, record: parquet.write_bytes(parquet.read_bytes()[:-1]),
    lambda parquet, record: parquet.unlink(),
    lambda parquet, record: record.write_bytes(record.read_bytes()[:-20]),
    lambda parquet, record: record.write_bytes(b""),
    lambda parquet, record: record.write_text('{"loads": [{"x": 1}]}'),
    lambda parquet, record: record.write_text("[3]"),
)


@pytest.mark.parametrize("name", ["kumomta/pack-", "events/"])
def test_damaged_landing_is_named_and_never_lost(home: Settings, name: str) -> None:
    """Of a pack and of a file alone: told while the marts have the records, and no rebuild may go without them."""
    source, _, prefix = name.partition("/")
    (parquet,) = (home.landing / source).glob(f"{prefix}*.parquet")
    raw_file = "events/events-2026-03-02.jsonl.gz" if source == "events" else "kumomta/kumo2/20260302-000000"
    whole = {path: path.read_bytes() for path in (parquet, parquet.with_suffix(".json"))}
    for harm in DAMAGES:
        harm(parquet, parquet.with_suffix(".json"))
        told = build.build(home)
        assert not told.is_built
        (note,) = told.notes
        assert f"landing/{source}/{parquet.stem}" in note
        assert raw_file in note
        assert "the marts still have its records" in note
        with pytest.raises(LandingDamagedError) as refused:
            build.build(home, full_refresh=True)
        assert refused.value.exit_code == 5
        assert raw_file in refused.value.cause
        assert "into the inbox again" in refused.value.remedy
        for path, content in whole.items():  # from a backup
            path.write_bytes(content)
        told = build.build(home)  # what was built before the refusal counts still
        assert not told.is_built
        assert told.notes == []
    shutil.rmtree(home.root / "rejects" / source)  # the rejects are part of what landed
    assert "is gone" in build.build(home).notes[0]


def test_damaged_landing_is_landed_again_from_the_inbox(home: Settings) -> None:
    (home.inbox / "kumomta").mkdir(parents=True)
    line = '{"type": "Delivery", "id": "1", "recipient": "a@b.example", "event_time": "2026-03-02T12:00:00Z"}\n'
    for number in range(2):
        (home.inbox / "kumomta" / str(number)).write_text(line.replace('"1"', f'"{number}"'))
    land_all(home)
    (parquet,) = (path for path in (home.landing / "kumomta").glob("*.parquet") if path.stat().st_mtime > 1.7e9
                  and path.with_suffix(".json").read_text().count('"kumomta/0"'))  # fmt: skip
    parquet.write_bytes(parquet.read_bytes()[:100])
    assert len(landing.find_damages(home, landing.read_loads(home))) == 1
    # one of the two comes first, under another name: the pack is not whole by that
    (home.inbox / "kumomta" / "1").rename(home.root / "kept")
    land_all(home)
    (damage,) = landing.find_damages(home, landing.read_loads(home))
    assert damage.source_files == ("kumomta/0", "kumomta/1")
    (home.root / "kept").rename(home.inbox / "kumomta" / "2")
    land_all(home)
    assert landing.find_damages(home, landing.read_loads(home)) == []


def test_parquet_that_cannot_be_read_is_set_aside_so_that_it_can_land_again(home: Settings) -> None:
    """Its size is right, so nothing but reading shows it; what landed it is named."""
    (parquet,) = (home.landing / "events").glob("*.parquet")
    content = bytearray(parquet.read_bytes())
    content[4:2000] = b"\xff" * 1996
    parquet.write_bytes(content)
    loads = landing.read_loads(home)
    (damage,) = landing.set_unreadable_aside(home, loads)
    assert damage.source_files == ("events/events-2026-03-02.jsonl.gz",)
    assert "cannot be read" in damage.describe(home)
    assert not parquet.exists()
    assert parquet.with_name(parquet.name + ".damaged").exists()
    assert len(landing.find_damages(home, landing.read_loads(home))) == 1
    assert landing.set_unreadable_aside(home, landing.read_loads(home)) == []


def flip(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xde\xad" * 20_000)


@pytest.mark.parametrize("has_note", [True, False])
@pytest.mark.parametrize(
    "damage", [lambda path: os.truncate(path, path.stat().st_size - 10), flip, lambda path: path.write_bytes(b"")]
)
def test_a_damaged_published_file_is_published_anew(home: Settings, damage, has_note: bool) -> None:
    if damage is flip and not has_note:
        pytest.skip("without its note in state/ only what DuckDB sees on opening is known")
    before = read_state(home.published_database)
    publish.publish(home)  # this copy of the home has a note of its own then
    assert publish.published_build_id(home) == work_state.find_build_id(home)
    if not has_note:
        (home.state / publish.NOTE_NAME).unlink()
        assert publish.published_build_id(home) == work_state.find_build_id(home)
    damage(home.published_database)
    assert publish.published_build_id(home) is None
    publish.publish(home)
    assert publish.published_build_id(home) == work_state.find_build_id(home)
    assert read_state(home.published_database) == before


def test_a_client_that_wrote_and_was_killed_changes_nothing_of_the_next_publication(home: Settings) -> None:
    """DuckDB would apply the log that such a client leaves to whatever file has the name then."""
    before = read_state(home.published_database)
    publish.publish(home)
    statement = "set wal_autocheckpoint = '1GB'; delete from marts.fct_delivery_events; create table mine as select 1"
    with open_in_client(home.published_database, "write", statement) as process:
        process.kill()
    assert (home.root / "bouncehouse.duckdb.wal").exists()
    assert publish.published_build_id(home) is None
    publish.publish(home)
    assert read_state(home.published_database) == before
    assert leftovers(home.root) == []


def test_a_client_that_may_write_stops_neither_publication_nor_exports_nor_status(
    home: Settings, client: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(duckdb.IOException, match="lock"):
        duckdb.connect(home.published_database, read_only=True)
    assert len(export_all(home)) == 15
    assert not list(home.state.glob("*.copy.*"))
    publish.publish(home)
    with open_in_client(home.published_database, "write", "select 1") as second:
        assert len(export_all(home)) == 15
        second.kill()
    assert client.poll() is None
    assert marts.read(home.published_database, "select count(*) from marts.fct_bounces") != [(0,)]


def test_exports_of_killed_runs_are_tidied_up(home: Settings) -> None:
    home.exports.mkdir(exist_ok=True)
    (home.exports / ".bounces_by_from_domain.csv.abc.tmp").write_text("half")
    export_all(home)
    assert leftovers(home.root) == []


def test_status_never_touches_the_private_database(home: Settings) -> None:
    """A run that wanted to open it at that moment would fail; and a home that cannot be written to has a status too."""
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    with open_in_client(home.work_database, "write", "select 1") as process:
        found = status.find_status(home)
        process.kill()
    assert found.landed_not_published == 0
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


@pytest.mark.torture
def test_a_removed_state_folder_costs_time_only(home: Settings) -> None:
    """Also between a build and its publication: that needs the private databases alone, and nothing is built again."""
    before = read_state(home.published_database)
    with duckdb.connect(home.work_database) as connection:
        connection.execute("update landing.builds set build_id = 'unpublished'")
    shutil.rmtree(home.state)
    code, _, said = run(home.root, "run")
    assert code == 0, said
    assert publish.published_build_id(home) == work_state.find_build_id(home) == "unpublished"
    assert read_state(home.published_database) == before
    code, _, said = run(home.root, "run", "--full-refresh")
    assert code == 0, said
    assert read_state(home.published_database) == before


@pytest.mark.torture
@pytest.mark.parametrize("name", ["work", "marts"])
def test_damage_inside_is_found_by_the_build_and_mended(home: Settings, name: str) -> None:
    """Most blocks of a private database written over, its headers whole: the build meets it, and starts again."""
    before = read_state(home.published_database)
    path = home.root / f"{name}.duckdb"
    with path.open("rb+") as file:
        for start in range(12288, path.stat().st_size, 262144):
            file.seek(start + 100_000)
            file.write(b"\xde\xad" * 1000)
    code, _, said = run(home.root, "run")
    assert code == 0, said
    assert "work.duckdb and marts.duckdb are damaged" in said
    assert read_state(home.published_database) == before
    assert run(home.root, "run")[0] == 0


@pytest.mark.torture
def test_unreadable_parquet_fails_the_build_with_its_name_and_heals(home: Settings) -> None:
    before = read_state(home.published_database)
    (parquet,) = (home.landing / "events").glob("*.parquet")
    content = parquet.read_bytes()
    parquet.write_bytes(content[:4] + b"\xff" * 1996 + content[2000:])
    code, _, said = run(home.root, "run", "--full-refresh")
    assert code == 5, said
    assert "events/events-2026-03-02.jsonl.gz" in said
    assert read_state(home.published_database) == before
    assert run(home.root, "run")[0] == 5
    parquet.write_bytes(content)
    assert run(home.root, "run")[0] == 0
    assert read_state(home.published_database) == before


@pytest.mark.torture
def test_rules_tried_and_taken_back_leave_no_trace(home: Settings) -> None:
    """A build with other rules died after it had judged all by them, and the rules were put back."""
    before = read_state(home.published_database)
    with work.open_work(home) as connection:
        connection.execute(
            "update intermediate.int_bounce_texts__judged set reason = 'undetermined', rule_set_version = 'other'"
        )
        connection.execute(
            "update marts.marts.fct_delivery_events set reason = 'undetermined' where reason is not null"
        )
        connection.execute("insert into landing.begun values ('other')")
    assert run_all(home).result.is_built
    assert read_state(home.published_database) == before
    assert not build.build(home).is_built


def test_killed_children_are_told_by_their_signal(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the kernel ends dbt for want of memory."""
    monkeypatch.setenv("BOUNCEHOUSE_FAILPOINT", "build.node")
    (home.inbox / "events").mkdir()
    (home.inbox / "events" / "a").write_text(
        '{"event_type": "delivered", "event_at": "2026-03-02T12:00:00Z", "recipient": "a@b.example"}\n'
    )
    land_all(home)
    with pytest.raises(build.BuildFailed, match=f"signal {int(signal.SIGKILL)}"):
        build.build(home)


@pytest.mark.torture
def test_a_home_that_another_installation_takes_over(tmp_path, monkeypatch):
    """What dbt parsed names whole paths of the project that it parsed: of one that has gone they lead nowhere."""
    settings = Settings(home=tmp_path / "home")
    settings.root.mkdir()
    here = build.find_project_directory()
    there = tmp_path / "there"
    for name in ("dbt_project.yml", "profiles.yml"):
        there.mkdir(exist_ok=True)
        shutil.copy(here / name, there)
    for name in ("macros", "models", "seeds", "tests/dbt"):
        shutil.copytree(here / name, there / name)
    with monkeypatch.context() as moved:
        for module in (build, dbt_process):
            moved.setattr(module, "find_project_directory", lambda: there)
        assert build.build(settings, full_refresh=True).is_built
    shutil.rmtree(there)
    assert build.build(settings, full_refresh=True).is_built
