"""Copies of database files: by the kernel or without it, and over an older copy by the blocks that differ."""

import errno
import json
import os
import random
import shutil
from pathlib import Path

import duckdb
import pytest

from flows import copying, failpoints, publish, work
from flows.build import build
from flows.erasure.erase import erase
from flows.notes import stamp_of
from flows.settings import Settings
from tests import marts
from tests.conftest import run_all, share
from tests.test_pair import add, made  # noqa: F401

BLOCK = copying.BLOCK_BYTES


def make_database(path: Path, statements: list[str]) -> Path:
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("checkpoint")
    return path


def test_a_copy_that_the_kernel_cannot_make_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at all, or not to its end."""
    source = make_database(tmp_path / "source", ["create table t as select uuid() as id from range(100000)"])
    content = source.read_bytes()
    by_kernel = os.copy_file_range
    asked = []

    def give_up(old: int, new: int, length: int, *places: int) -> int:
        asked.append(old)
        if len(asked) != 2:
            raise OSError(95, "Operation not supported")
        return by_kernel(old, new, 5000, *places)

    monkeypatch.setattr(os, "copy_file_range", give_up)
    for number in range(2):
        copying.copy_file(source, tmp_path / f"copy-{number}")
        assert (tmp_path / f"copy-{number}").read_bytes() == content
    assert len(asked) == 3
    older = tmp_path / "older"
    older.write_bytes(content[: copying.HEADER_BYTES + 5 * BLOCK])
    copying.copy_changes(source, older)
    assert older.read_bytes() == content


def test_a_large_copy_does_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its last stretches. It is on the disk before: whoever lets go of what is not written lets go of nothing."""
    monkeypatch.setattr(copying, "STRETCH_BYTES", BLOCK)
    source = tmp_path / "source"
    source.write_bytes(random.Random(0).randbytes(BLOCK * 7 // 2))
    steps: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: steps.append(("written", os.fstat(file).st_size)))
    monkeypatch.setattr(
        os, "posix_fadvise", lambda file, begin, length, advice: steps.append(("let go", begin + length)), raising=False
    )
    copying.copy_file(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert [place for step, place in steps if step == "let go"] == [BLOCK, 2 * BLOCK, BLOCK * 5 // 2]
    for (first, written), (second, let_go) in zip(steps[::2], steps[1::2], strict=True):
        assert (first, second) == ("written", "let go") and written >= let_go
    steps.clear()
    monkeypatch.setattr(copying, "STRETCH_BYTES", 4 * BLOCK)
    copying.copy_file(source, tmp_path / "small")
    assert steps == []


def test_a_disk_that_fails_while_a_copy_is_let_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of it once."""

    def fail(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(copying, "STRETCH_BYTES", BLOCK)
    monkeypatch.setattr(os, "fdatasync", fail)
    source = tmp_path / "source"
    source.write_bytes(bytes(2 * BLOCK))
    with pytest.raises(OSError, match="Input/output error"):
        copying.copy_file(source, tmp_path / "copy")


@pytest.mark.parametrize("seed", range(8))
def test_an_older_copy_becomes_the_same(tmp_path: Path, seed: int) -> None:
    """Longer, shorter or as long, with any blocks changed; what is the same is not written."""
    generator = random.Random(seed)
    head = generator.randbytes(copying.HEADER_BYTES)
    blocks = [generator.randbytes(BLOCK) for _ in range(generator.randint(0, 12))]
    tail = generator.randbytes(generator.choice([0, 100]))
    others = [block if generator.random() < 0.6 else generator.randbytes(BLOCK) for block in blocks]
    others = others[: generator.randint(0, 14)] + [generator.randbytes(BLOCK)] * generator.randint(0, 2)
    source, older = tmp_path / "source", tmp_path / "older"
    source.write_bytes(head + b"".join(blocks) + tail)
    older.write_bytes(generator.randbytes(copying.HEADER_BYTES) + b"".join(others))
    changed = sum(block != other for block, other in zip(blocks, [*others, *[None] * len(blocks)], strict=False))
    written = copying.copy_changes(source, older)
    assert older.read_bytes() == source.read_bytes()
    assert written == copying.HEADER_BYTES + changed * BLOCK + len(tail)


def test_a_database_that_goes_on_costs_what_was_added(tmp_path: Path) -> None:
    """DuckDB's own files: rows are added and taken away, tables made and dropped."""
    source = make_database(
        tmp_path / "source", ["create table t as select range as day, uuid() as id from range(1_000_000)"]
    )
    older = tmp_path / "older"
    copying.copy_file(source, older)
    make_database(
        source,
        [
            "delete from t where day > 999_000",
            "insert into t select range, uuid() from range(1000)",
            "create table more as select * from t limit 5",
        ],
    )
    assert copying.copy_changes(source, older) < source.stat().st_size / 3
    assert older.read_bytes() == source.read_bytes()
    with duckdb.connect(older, read_only=True) as connection:
        assert connection.execute("select count(distinct id) from t").fetchone() == (1_000_001,)


def test_whoever_has_a_file_open_is_noticed(tmp_path: Path) -> None:
    path = make_database(tmp_path / "source", ["create table t (i int)"])
    assert not copying.is_held(path)
    with duckdb.connect(path, read_only=True):
        assert copying.is_held(path)
    with path.open("rb"):
        assert copying.is_held(path)
    assert not copying.is_held(path)


def make_large(made: Path, folder: Path) -> Path:  # noqa: F811
    """A home whose published file counts as a large one, published so that the one before is kept."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    settings = Settings(home=folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "FORMER_BYTES", 0)
        publish.publish(settings)
        assert not settings.former_database.exists()  # the same build, published again
        publish_more(settings, "bob")
    assert settings.former_database.exists()
    return folder


@pytest.fixture(scope="module")
def made_large(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    return share(tmp_path_factory, "large", lambda folder: make_large(made, folder))


@pytest.fixture
def large(made_large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of that home, whose file is as published though it is another."""
    shutil.copytree(made_large, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(publish, "FORMER_BYTES", 0)
    settings = Settings(home=tmp_path / "home")
    note = settings.state / publish.NOTE_NAME
    stamp = stamp_of(settings.published_database)
    note.write_text(json.dumps({**json.loads(note.read_text()), "stamp": stamp}))
    return settings


def publish_more(settings: Settings, name: str) -> None:
    add(settings, name)
    run_all(settings)


def test_a_large_file_is_written_over_the_one_before_the_last(large: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(publish, "copy_changes", lambda *paths: copied.append(copying.copy_changes(*paths)))
    monkeypatch.setattr(publish, "copy_file", lambda *_: pytest.fail("a whole copy"))
    former, published = large.former_database.stat().st_ino, large.published_database.stat().st_ino
    publish_more(large, "cleo")
    assert large.published_database.stat().st_ino == former
    assert large.former_database.stat().st_ino == published
    assert 0 < copied[0] <= large.marts_database.stat().st_size
    monkeypatch.setattr(publish, "copy_file", copying.copy_file)
    whole = Settings(home=large.root.parent / "whole", inbox_directory=large.inbox)
    run_all(whole)
    assert marts.differences(whole.published_database, large.published_database) == {}


@pytest.mark.long
def test_a_reader_keeps_the_state_that_he_opened(large: Settings) -> None:
    count = "select count(*) from marts.fct_bounces"
    with duckdb.connect(large.published_database, read_only=True) as reader:
        before = reader.execute(count).fetchone()
        publish_more(large, "cleo")
        held = large.former_database.stat().st_ino
        publish_more(large, "dora")  # would be written over what the reader has open
        assert large.published_database.stat().st_ino != held
        assert reader.execute("select * from marts.fct_bounces order by all").fetchall()
        assert reader.execute(count).fetchone() == before
    assert before is not None
    assert marts.read(large.published_database, count) == [(before[0] + 2,)]


@pytest.mark.long
def test_a_kill_before_the_swap_leaves_no_file_under_two_names_to_be_written_to(
    large: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == "publish.kept":
            raise Killed

    before = large.published_database.read_bytes()
    monkeypatch.setattr(publish, "failpoint", kill)
    with pytest.raises(Killed):
        publish_more(large, "cleo")
    assert large.published_database.samefile(large.former_database)
    assert large.published_database.read_bytes() == before
    monkeypatch.setattr(publish, "failpoint", failpoints.failpoint)
    inode = large.published_database.stat().st_ino
    publish.publish(large)
    assert large.published_database.stat().st_ino != inode
    assert ("cleo@late.example",) in marts.read(large.published_database, "select recipient from marts.fct_bounces")


@pytest.mark.long
def test_nothing_that_was_erased_stays_in_the_file_before(large: Settings) -> None:
    erase(large, ["bob@late.example"], by="eve", reason="letter")
    assert not large.former_database.exists()
    publish_more(large, "cleo")
    assert large.former_database.exists()
    for path in (large.former_database, large.published_database, large.marts_database):
        assert b"bob@late.example" not in path.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize(("free_share", "is_kept"), [(0.6, True), (0.4, False)])
def test_the_one_before_is_kept_where_half_of_its_size_is_free(
    large: Settings, monkeypatch: pytest.MonkeyPatch, free_share: float, is_kept: bool
) -> None:
    free = int(free_share * large.published_database.stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, free))
    publish_more(large, "cleo")
    assert large.former_database.exists() == is_kept


@pytest.mark.long
def test_where_all_is_made_anew_the_one_before_takes_no_room(large: Settings) -> None:
    build(large, full_refresh=True)
    assert not large.former_database.exists()


@pytest.mark.long
def test_what_a_client_wrote_into_is_not_kept(large: Settings) -> None:
    with duckdb.connect(large.published_database) as connection:
        connection.execute("create table mine as select 1")
    publish_more(large, "cleo")
    assert not large.former_database.exists()
    assert work.prepare_work(large) == []
