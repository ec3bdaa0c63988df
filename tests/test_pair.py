"""The two private databases are one pair: whichever is missing, damaged or of another time is noticed, and both are made anew.

And what is published of them is all of the marts, and nothing else.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from flows import build, publish, work
from flows.pair import announce, checkpoint, confirm, is_pair, read_token, write_token
from flows.settings import Settings
from flows.work_state import find_build_id, find_work_state
from tests import marts
from tests.conftest import Logs, kill_a_build, land_all, run_all, share

LINE = '{{"event_type": "bounced", "event_at": "2026-03-03T12:00:00Z", "recipient": "{name}@late.example", "smtp_code": 550}}\n'


def make_home(logs: Logs, folder: Path) -> Path:
    """A home of few events that was built twice, with its private databases of the first time in `before`."""
    settings = Settings(home=folder / "home")
    shutil.copytree(logs.folder / "events", settings.inbox / "events")
    run_all(settings)
    (folder / "before").mkdir()
    for path in (settings.work_database, settings.marts_database):
        shutil.copy(path, folder / "before")
    add(settings, "ann")
    run_all(settings)
    return folder


def add(settings: Settings, name: str) -> None:
    """Land one more bounce."""
    (settings.inbox / "events" / f"{name}.jsonl").write_text(LINE.format(name=name))
    assert len(land_all(settings)) == 1


@pytest.fixture(scope="module")
def made(logs: Logs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return share(tmp_path_factory, "pair", lambda folder: make_home(logs, folder))


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Settings:
    """A copy of that home, with `before` beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Settings(home=tmp_path / "home")


def test_a_checkpoint_leaves_no_log_of_either(home: Settings) -> None:
    logs = [path.with_name(f"{path.name}.wal") for path in (home.work_database, home.marts_database)]
    with work.open_work(home) as connection:
        write_token(connection, announce(connection))
        assert all(log.stat().st_size for log in logs)
        checkpoint(connection)
        assert not any(log.exists() and log.stat().st_size for log in logs)


def put_back(settings: Settings, path: Path) -> None:
    shutil.copy(settings.root.parent / "before" / path.name, path)


def put_back_from_within_a_build(settings: Settings) -> None:
    """A backup of the marts that was made after a build had begun, put back after it ended."""
    kept = settings.root.parent / "within.duckdb"
    with work.open_work(settings) as connection:
        token = announce(connection)
        write_token(connection, token)
        confirm(connection, token)
    shutil.copy(settings.marts_database, kept)
    with work.open_work(settings) as connection:
        token = announce(connection)
        write_token(connection, token)
        confirm(connection, token)
    kept.replace(settings.marts_database)


def write_over(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(b"\0" * 4096)


READ_BY_PUBLISHING = (
    "fct_delivery_events",
    "dim_profile_history",
    "rpt_delivery_daily",
    "rpt_bounces",
    "rpt_undel",
    "ops_sources",
)
"""Marts whose blocks it reads in any case: for tables made of views, and for restatements."""


SPOILT: dict[str, tuple[Callable[[Settings], object], str]] = {
    "no work database": (lambda home: home.work_database.unlink(), ""),
    "no marts": (lambda home: home.marts_database.unlink(), "do not belong together"),
    "an empty file for work": (lambda home: os.truncate(home.work_database, 0), "are damaged"),
    "an empty file for marts": (lambda home: os.truncate(home.marts_database, 0), "are damaged"),
    "damaged work database": (lambda home: write_over(home.work_database), "are damaged"),
    "damaged marts": (lambda home: write_over(home.marts_database), "are damaged"),
    "older work database": (lambda home: put_back(home, home.work_database), "do not belong together"),
    "older marts": (lambda home: put_back(home, home.marts_database), "do not belong together"),
    "marts from within a build": (put_back_from_within_a_build, "do not belong together"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_does_not_belong_together_is_noticed(home: Settings, spoilt: str) -> None:
    spoil, reason = SPOILT[spoilt]
    spoil(home)
    assert not build.is_up_to_date(home)
    if home.work_database.exists():
        assert not find_work_state(home).is_usable  # so that no pass of retention counts on it
        assert not find_work_state(home).is_settled
    notes = work.prepare_work(home)
    assert [reason in note for note in notes] == ([True] if reason else [])
    assert not home.work_database.exists()
    assert not home.marts_database.exists()
    assert work.prepare_work(home) == []


@pytest.mark.long
@pytest.mark.parametrize("spoilt", ["no marts", "older work database"])
def test_what_does_not_belong_together_is_built_again_from_landing(home: Settings, spoilt: str) -> None:
    spoil, reason = SPOILT[spoilt]
    before = shutil.copy(home.published_database, home.root.parent / "published.duckdb")
    spoil(home)
    rebuilt = run_all(home)
    assert reason in rebuilt.result.notes[0]
    assert rebuilt.result.files > 1
    assert marts.differences(before, home.published_database) == {}
    assert not build.build(home).is_built
    assert build.is_up_to_date(home)


@pytest.mark.long
def test_both_put_back_take_in_what_landed_since(home: Settings) -> None:
    """The pair of an earlier day is a pair."""
    before = shutil.copy(home.published_database, home.root.parent / "published.duckdb")
    put_back(home, home.work_database)
    put_back(home, home.marts_database)
    rebuilt = run_all(home)
    assert rebuilt.result.notes == []
    assert rebuilt.result.files == 1
    assert marts.differences(before, home.published_database) == {}


@pytest.mark.long
def test_a_build_killed_between_the_two_files_is_finished_by_the_next(home: Settings) -> None:
    """Again and again, and without building everything again."""
    add(home, "bob")
    for place in ("pair.announced", "pair.written", "build.node:100:group", "pair.announced:2", "pair.written:2"):
        kill_a_build(home, place)
    finished = run_all(home)
    assert finished.result.notes == []
    assert finished.result.files == 1
    whole = home.root.parent / "whole"
    shutil.copytree(home.root, whole, ignore=shutil.ignore_patterns("*.duckdb*"))
    assert marts.differences(run_all(Settings(home=whole)).database, finished.database) == {}


def test_a_first_build_killed_at_once_leaves_nothing_to_tell_of(home: Settings) -> None:
    for place in ("pair.announced", "pair.written"):
        home.work_database.unlink(missing_ok=True)
        kill_a_build(home, place)
        assert work.prepare_work(home) == []
        with work.open_work(home) as connection:
            assert is_pair(connection)


def things_of(connection: duckdb.DuckDBPyConnection, database: str) -> set[tuple[str, str]]:
    return set(
        connection.execute(
            """select schema_name, table_name from duckdb_tables() where database_name = $1
            union all
            select schema_name, view_name from duckdb_views() where database_name = $1 and not internal""",
            [database],
        ).fetchall()
    )


def test_what_is_published_is_the_marts_and_nothing_else(home: Settings) -> None:
    with duckdb.connect(home.marts_database) as connection:  # as a hand might leave it
        connection.execute("create schema scratch; create table scratch.mine as select 1")
        connection.execute("create table main.too as select 2")
        connection.execute("create view marts.marts.seen as select 3")
    publish.publish(home)
    with work.open_work(home) as connection:
        connection.execute(f"attach '{home.published_database}' as published (read_only)")
        declared = {("marts", mart) for (mart,) in connection.execute("select mart from landing.marts").fetchall()}
        assert things_of(connection, "published") == {*declared, ("marts", "ops_publication")}
        assert len(declared) > 30
        for mart in sorted({mart for _, mart in declared} - {"ops_restatements"}):
            rows = connection.execute(f"select * from marts.marts.{mart} order by all").fetchall()
            assert marts.read(home.published_database, f"select * from marts.{mart} order by all") == rows
        schemas = "select schema_name from duckdb_schemas() where not internal order by 1"
        assert marts.read(home.published_database, schemas) == [("marts",)]
        kinds = connection.execute(
            "select distinct tags['storage_version'] from duckdb_databases() where database_name in ('marts', 'published')"
        ).fetchall()
        assert kinds == [("v1.3.0+",)]


@pytest.mark.long
def test_free_blocks_are_not_published_beyond_a_share(home: Settings) -> None:
    """Where they are more, the marts are written anew under the same token: the pair stays one."""
    before = shutil.copy(home.published_database, home.root.parent / "published.duckdb")
    publish.publish(home)
    inode, size = home.marts_database.stat().st_ino, home.published_database.stat().st_size
    with work.open_work(home) as connection:
        token = read_token(connection)
        connection.execute("create table marts.marts.big as select uuid() as id, uuid() as other from range(2_000_000)")
        connection.execute("checkpoint marts")
        connection.execute("create table marts.marts.last as select uuid() as id from range(100_000)")
        connection.execute("checkpoint marts")
        connection.execute("drop table marts.marts.big")
    assert home.marts_database.stat().st_size > 3 * size
    publish.publish(home)
    assert home.marts_database.stat().st_ino != inode
    assert home.published_database.stat().st_size < size + (4 << 20)
    with work.open_work(home) as connection:
        assert read_token(connection) == token
    assert marts.differences(before, home.published_database) == {}
    assert work.prepare_work(home) == []
    inode = home.marts_database.stat().st_ino
    add(home, "bob")
    again = run_all(home)
    assert (again.result.notes, again.result.files) == ([], 1)
    assert home.marts_database.stat().st_ino == inode


@pytest.mark.long
def test_damaged_marts_are_not_published(home: Settings) -> None:
    """A block of tables that publishing has no other use for, written over: the copy is read before it is shown,
    where the build before tested everything, though it had nothing to take in."""
    assert build.build(home, test_whole=True).is_built
    before = home.published_database.read_bytes()
    used: dict[str, dict[int, int]] = {}
    with work.open_work(home) as connection:
        connection.execute("checkpoint marts")
        for mart in sorted(name for schema, name in things_of(connection, "marts") if schema == "marts"):
            kind = connection.execute("select count(*) from duckdb_tables() where table_name = ?", [mart]).fetchone()
            if kind == (1,):
                used[mart] = dict(
                    connection.execute(
                        f"""select block_id, max(block_offset) from pragma_storage_info('marts.marts.{mart}')
                        where block_id >= 0 and segment_type <> 'VALIDITY' group by 1"""
                    ).fetchall()
                )
    read = {block for mart in used if mart.startswith(READ_BY_PUBLISHING) for block in used[mart]}
    block, offset = next((block, used[mart][block]) for mart in used for block in sorted(set(used[mart]) - read))
    with home.marts_database.open("rb+") as file:
        file.seek(12288 + block * 262144 + offset + 8)  # after the headers of the file
        file.write(b"\xde\xad" * 100)
    with pytest.raises(Exception, match=r"nothing was published: .* are damaged"):
        publish.publish(home)
    assert home.published_database.read_bytes() == before
    assert not list(home.root.glob(".*.new*"))
    assert run_all(home).result.is_built
    assert publish.published_build_id(home) == find_build_id(home)


@pytest.mark.long
def test_what_dbt_parsed_for_one_home_serves_another_and_leaves_its_files_alone(home: Settings, tmp_path: Path) -> None:
    there = Settings(home=tmp_path / "there")
    (there.inbox / "events").mkdir(parents=True)
    (there.inbox / "events" / "eve.jsonl").write_text(LINE.format(name="eve"))
    files = {path: path.read_bytes() for path in (home.work_database, home.marts_database)}
    run_all(there)  # by what dbt parsed for the first of all homes
    assert "partial pars" not in (there.dbt_target / "dbt.log").read_text()
    assert {path: path.read_bytes() for path in files} == files
    assert marts.read(there.published_database, "select recipient from marts.fct_bounces") == [("eve@late.example",)]
