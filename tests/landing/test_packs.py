"""Small files land together as they do alone: the same records, rejects and loads, each content once, whatever dies."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.batch import show_batch
from flows.landing import (
    Known,
    Load,
    Unreadable,
    find_arrivals,
    land,
    land_file,
    land_files,
    read_loads,
    reading,
    remember,
    splitting,
)
from flows.landing import content as content_module
from flows.landing.content import Content
from flows.landing.inbox import Arrival
from flows.landing.reading import FirstReading, read_ahead
from flows.settings import Settings
from tests.sources import mails
from tests.sources.test_dsn import ALL

from .conftest import Home, make_home
from .records import STATUS_LINE, kumo, ses_event, sns

SAMPLES = Path(__file__).parents[2] / "samples"
GOOD = kumo().encode() + b"\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ACTION = {
    "action_id": "a1",
    "action": "remove",
    "at": "2026-03-02T10:00:00Z",
    "address": "ann@example.org",
    "by": "kim",
}


def together(home: Home) -> list[Any]:
    return land_files(home.settings, find_arrivals(home.settings).files)


def told(home: Home, outcomes: list[Any]) -> dict[str, Any]:
    """What became of each file, without what may differ between ways of landing; and what was written, exactly."""
    found: dict[str, Any] = {}
    for outcome in outcomes:
        if isinstance(outcome, Load):
            record = asdict(outcome)
            for name in ("landed_at", "landing_bytes", "pack"):
                record.pop(name)
            found[outcome.source_file] = record
        else:
            found[outcome.source_file] = outcome
    for source in sorted({load.source_name for load in outcomes if isinstance(load, Load)}):
        found[f"{source} landed"] = home.rows(source, columns="* exclude (landed_at)")
        found[f"{source} rejected"] = home.rejects(source, columns="* exclude (landed_at)")
    return found


def check_same(one: Home, other: Home) -> list[Any]:
    """Land one home file by file, the other at one go, and compare; gives the outcomes."""
    outcomes = together(other)
    assert told(other, outcomes) == told(one, one.land())
    loads = [outcome for outcome in outcomes if isinstance(outcome, Load)]
    assert read_loads(other.settings) == sorted(loads, key=lambda load: load.file_digest)
    assert all(load.records_read == load.records_landed + load.records_rejected for load in loads)
    return outcomes


def put_both(homes: tuple[Home, Home], name: str, content: bytes) -> None:
    for home in homes:
        os.utime(home.put(name, content), (1772445600, 1772445600))


def pieces(path: Path) -> list[bytes]:
    """A sample's content in small files: some lines each, with the header where it has one."""
    content = path.read_bytes()
    if content.startswith(b"PAR1"):
        return [content]
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            content = reader.read()
    lines = content.splitlines(keepends=True)[:60]
    header = lines.pop(0) if path.suffix == ".csv" and content[:1] not in b"{[" else b""
    size = max(len(lines) // 5, 1)
    return [header + b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]


@pytest.mark.parametrize("source", sorted(path.name for path in SAMPLES.iterdir() if path.is_dir()))
def test_samples_in_small_files(tmp_path: Path, source: str) -> None:
    homes = make_home(tmp_path / "one"), make_home(tmp_path / "other")
    count = 0
    for path in sorted(path for path in (SAMPLES / source).rglob("*") if path.is_file())[:6]:
        for number, piece in enumerate(pieces(path)):
            put_both(homes, f"{source}/{path.name}.{number}", piece)
            count += 1
    outcomes = check_same(*homes)
    assert len(outcomes) == count > 3
    packs = {load.pack for load in outcomes if isinstance(load, Load) and load.pack}
    assert packs


ODD = {
    "kumomta": [
        GOOD, b"", b"\n\n", GOOD * 3, GOOD[:-1], b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"), b"{\n", PNG, b"a,b\n",
        kumo(id="2").encode() + kumo(id="3").encode() + b"\n", b"[" + GOOD[:-1] + b"," + GOOD[:-1] + b"]",
        GOOD + b"\xff\xfe\n" + GOOD, GOOD + b"\0\n", json.dumps(json.loads(kumo(id="4")), indent=2).encode(),
        gzip.compress(GOOD + kumo(id="5").encode()), gzip.compress(GOOD * 9)[:-12], gzip.compress(PNG), b"\xff" * 9,
        kumo(type="Teleport").encode(), GOOD + kumo(timestamp=3600).encode() + b"\n" + kumo(id="6").encode() + b"{}{",
    ],
    "postfix": [
        STATUS_LINE.encode() + b"\n", STATUS_LINE.encode(), STATUS_LINE[:-9].encode(), b"\n" + STATUS_LINE.encode(),
        STATUS_LINE.encode() + b"\nno syslog\n", b"Feb 30 10:00:00 mx1 x: y\n", b"{}", STATUS_LINE.encode()[:-1] + b"\xff",
    ],
    "ses": [
        json.dumps(ses_event()).encode(), json.dumps(sns(json.dumps(ses_event()))).encode() + b"\n", b"{}",
        json.dumps({"Messages": [{"Body": json.dumps(ses_event())}, {"Body": "x"}]}).encode(), b"[]", b"[1]",
    ],
    "events": [
        b"event_type,event_at,recipient\nbounced,2026-03-02T10:00:00Z,ann@example.org\n",
        b"recipient;event_at;event_type;shoe\nann@example.org;2026-03-02T10:00:00Z;bounced;4\nx;y\n",
        b'{"event_type":"bounced","event_at":"2026-03-02T10:00:00Z","recipient":"ann@example.org"}', b"PAR1" + b"x" * 99,
    ],
    "dsn": [
        mails.mbox(*ALL[:3]), ALL[0], ALL[1], b"x: y\n\nno mail\n", mails.mbox(b"x: y\n\nno", ALL[2]),
        b"dovecot\n", b"",
    ],
    "actions": [json.dumps(ACTION).encode(), json.dumps(ACTION | {"action": "forget"}).encode() + b"\n"],
}  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_files_land_together_as_alone(new_home: Callable[[], Home], data: st.DataObject) -> None:
    homes = new_home(), new_home()
    source = data.draw(st.sampled_from(sorted(ODD)))
    contents = data.draw(st.lists(st.sampled_from(ODD[source]), min_size=1, max_size=12))
    for number, content in enumerate(contents):
        put_both(homes, f"{source}/{number:02}.jsonl", content)
    check_same(*homes)


@pytest.mark.parametrize("source", sorted(ODD))
def test_every_odd_file_at_once(tmp_path: Path, source: str) -> None:
    homes = make_home(tmp_path / "one"), make_home(tmp_path / "other")
    for number, content in enumerate(ODD[source]):
        put_both(homes, f"{source}/{number:02}.jsonl", content)
    check_same(*homes)


def test_a_pack_is_one_file_with_one_record(home: Home) -> None:
    for number in range(20):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + (b"\n{" if number % 2 else b""))
    loads = together(home)
    (pack,) = {load.pack for load in loads}
    assert sorted(path.name for path in (home.settings.landing / "kumomta").iterdir()) == [
        f"{pack}.json",
        f"{pack}.parquet",
    ]
    assert [path.name for path in (home.settings.rejects / "kumomta").iterdir()] == [f"{pack}.parquet"]
    assert sorted(read_loads(home.settings), key=lambda load: load.source_file) == sorted(
        loads, key=lambda load: load.source_file
    )


def test_packs_are_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land, "PACK_FILES", 4)
    monkeypatch.setattr(land, "PACK_BYTES", len(GOOD) * 5)
    monkeypatch.setattr(land, "PACKED_BYTES", len(GOOD) * 3)
    for number in range(9):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + b"\n")
    home.put("kumomta/a large one", GOOD * 4)
    home.put("kumomta/b compressed", gzip.compress(GOOD * 50))
    home.put("kumomta/c", kumo(id="0").encode() + b"\n" + GOOD * 2)
    home.put("kumomta/d", GOOD * 3)
    home.put("kumomta/e", kumo(id="9").encode())
    loads = together(home)
    assert all(isinstance(load, Load) for load in loads)
    sizes: dict[str | None, int] = {}
    for load in loads:
        sizes[load.pack] = sizes.get(load.pack, 0) + 1
    assert sizes.pop(None) == 3  # the two large ones, and the only one that was left
    assert sorted(sizes.values()) == [3, 4, 4]


def test_duplicates_inside_a_pack_and_across(home: Home) -> None:
    for name in ("a", "b", "c"):
        home.put(f"kumomta/{name}", kumo(id="1" if name == "b" else "0").encode())
    assert [type(outcome) for outcome in together(home)] == [Load, Load, Known]
    home.put("kumomta/d.gz", gzip.compress(kumo(id="1").encode()))
    home.put("kumomta/e", kumo(id="2").encode())
    assert [type(outcome) for outcome in together(home)] == [Known, Known, Known, Known, Load]
    assert [row[0] for row in sorted(home.rows("kumomta", columns="id"))] == ["0", "1", "2"]
    assert len(read_loads(home.settings)) == 3


def test_a_pack_beside_files_landed_alone_before(home: Home) -> None:
    """As an older home has them: their load records know nothing of packs."""
    home.put("kumomta/a", kumo(id="0").encode())
    (load,) = together(home)
    record = home.settings.landing / "kumomta" / f"{load.file_digest}.json"
    older = json.loads(record.read_text())
    del older["pack"]
    record.write_text(json.dumps(older))
    for number in range(3):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode())
    assert [type(outcome) for outcome in together(home)] == [Known, Load, Load, Known]
    assert len(read_loads(home.settings)) == 3


def test_unchanged_files_of_a_pack_are_not_read_again(home: Home) -> None:
    for number in range(3):
        os.utime(home.put(f"kumomta/{number}", kumo(id=str(number)).encode()), (1772445600, 1772445600))
    files = find_arrivals(home.settings).files
    remember(home.settings, zip(files, land_files(home.settings, files), strict=True))
    arrivals = find_arrivals(home.settings)
    assert (arrivals.files, arrivals.unchanged_count) == ([], 3)


@pytest.mark.parametrize("harm", ["cut", "removed", "rejects removed", "record removed", "record cut"])
def test_a_pack_that_was_harmed_is_landed_again(home: Home, harm: str) -> None:
    for number in range(3):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + b"\n{")
    pack = home.settings.landing / "kumomta" / f"{together(home)[0].pack}.parquet"
    match harm:
        case "cut":
            pack.write_bytes(pack.read_bytes()[:-1])
        case "removed":
            pack.unlink()
        case "rejects removed":
            (home.settings.rejects / "kumomta" / pack.name).unlink()
        case "record removed":
            pack.with_suffix(".json").unlink()
        case _:
            record = pack.with_suffix(".json")
            record.write_text(record.read_text()[:-9])
    assert read_loads(home.settings) == []
    assert [type(outcome) for outcome in together(home)] == [Load, Load, Load]
    assert len(home.rows("kumomta")) == len(home.rejects("kumomta")) == 3


def test_a_pack_that_was_lost_and_is_put_back_counts_no_content_twice(home: Home) -> None:
    for number in range(3):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode())
    pack = home.settings.landing / "kumomta" / f"{together(home)[0].pack}.parquet"
    record = pack.with_suffix(".json")
    kept = pack.read_bytes(), record.read_bytes()
    record.unlink()
    home.put("kumomta/3", kumo(id="3").encode())
    assert [type(outcome) for outcome in together(home)] == [Load] * 4
    pack.write_bytes(kept[0])
    record.write_bytes(kept[1])
    loads = read_loads(home.settings)
    assert len(loads) == len({load.file_digest for load in loads}) == 4


def test_one_that_cannot_be_read_does_not_disturb_the_others(home: Home) -> None:
    """A folder, a name that is gone, one that grew and one that was written over, among good ones."""
    paths = {name: home.put(f"kumomta/{name}", kumo(id=name).encode() + b"\n") for name in "abcdef"}
    arrivals = find_arrivals(home.settings).files
    paths["b"].unlink()
    paths["c"].unlink()
    paths["c"].mkdir()
    with paths["d"].open("ab") as file:
        file.write(GOOD)
    outcomes = dict(zip("abcdef", land_files(home.settings, arrivals), strict=True))
    assert {name: type(outcome).__name__ for name, outcome in outcomes.items()} == dict.fromkeys("adef", "Load") | {
        "b": "Unreadable",
        "c": "Unreadable",
    }
    assert outcomes["d"].records_landed == 2
    assert len(home.rows("kumomta")) == 5


def lengthen(content: bytes, lines: int = 40) -> bytes:
    """A file of some blocks: an odd one between good lines of its own."""
    good = b"".join(kumo(id=f"{len(content)}-{number}").encode() + b"\n" for number in range(lines))
    return good + content + b"\n" + good


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that files of some kilobytes go the ways of megabytes: several blocks each, and more than is put together."""
    monkeypatch.setattr(content_module, "BLOCK_BYTES", 5000)
    monkeypatch.setattr(splitting, "GATHERED_BYTES", 20_000)
    monkeypatch.setattr(splitting, "PARSED_BYTES", 20_000)


@pytest.mark.usefixtures("small_blocks")
def test_larger_files_land_together_as_alone(tmp_path: Path) -> None:
    homes = make_home(tmp_path / "one"), make_home(tmp_path / "other")
    odd = [*ODD["kumomta"], b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n") * 30, GOOD[:-1] + b"{", b"x" * 9000]
    for number, between in enumerate(odd):
        put_both(homes, f"kumomta/{number:02}", lengthen(between))
        put_both(homes, f"kumomta/{number:02}.gz", gzip.compress(lengthen(between + GOOD), mtime=0))
        put_both(homes, f"kumomta/{number:02} begins", between + lengthen(GOOD, number + 20))
        put_both(homes, f"kumomta/{number:02} cut", lengthen(between, number + 60)[:-9])
    packs = {outcome.pack for outcome in check_same(*homes) if isinstance(outcome, Load)}
    assert len(packs) == 3  # lines, documents, and None for what is foreign


@pytest.mark.usefixtures("small_blocks")
def test_larger_tables_land_together_as_alone(tmp_path: Path) -> None:
    """Accounting files of different columns, with a header that comes again and rows that are none."""
    homes = make_home(tmp_path / "one"), make_home(tmp_path / "other")
    for number in range(6):
        header = f"type,timeLogged,rcpt,header_X-{number % 3}\n"
        rows = [f"d,2026-03-02 10:00:00+0000,ann{row}@example.org,{number}\n" for row in range(200)]
        rows[90] = header if number % 2 else "d,too,few\n"
        put_both(homes, f"powermta/{number}", (header + "".join(rows)).encode())
    loads = check_same(*homes)
    assert len({load.pack for load in loads}) == 1
    assert sum(load.records_rejected for load in loads) == 3


def test_the_second_look_is_at_the_files_with_rejects(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + (b"\n{}" if number == 3 else b"\n"))
    looks: list[list[int]] = []
    split = land.split_files

    def note(splittings: Any, files: Any, places: Any, *others: Any, **flags: Any) -> Any:
        looks.append(list(places))
        return split(splittings, files, places, *others, **flags)

    monkeypatch.setattr(land, "split_files", note)
    together(home)
    assert looks == [[0, 1, 2, 3, 4], [3]]
    assert home.rejects("kumomta", columns="source_file, record_number") == [("kumomta/3", 2)]


def test_a_large_file_that_is_written_over_after_its_digest(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land, "PACKED_BYTES", len(GOOD))
    path = home.put("kumomta/b", GOOD * 9)
    home.put("kumomta/c", kumo(id="c").encode())
    arrivals = find_arrivals(home.settings).files
    write = land.PackWriter.write

    def change_and_write(writer: land.PackWriter) -> list[Load]:
        if writer.files[0].arrival.path == path:
            time.sleep(0.02)
            path.write_bytes(GOOD.replace(b"4e10", b"4e11") * 9)
        return write(writer)

    monkeypatch.setattr(land.PackWriter, "write", change_and_write)
    assert [type(outcome) for outcome in land_files(home.settings, arrivals)] == [Unreadable, Load]
    assert home.rows("kumomta", columns="id") == [("c",)]


def test_a_landing_that_fails_leaves_no_file_open(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next files are being read when a disk is full."""
    monkeypatch.setattr(land, "PACK_FILES", 2)
    for number in range(9):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode())
    arrivals = find_arrivals(home.settings).files
    opened: list[Content] = []
    open_content = reading.open_content

    def note(path: Path, inflation_limit: int) -> Content:
        opened.append(open_content(path, inflation_limit))
        return opened[-1]

    def fail(writer: land.PackWriter) -> list[Load]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reading, "open_content", note)
    monkeypatch.setattr(land.PackWriter, "write", fail)
    with pytest.raises(OSError, match="No space"):
        land_files(home.settings, arrivals)
    assert len(opened) > 2
    assert all(content.file.closed for content in opened)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("landing-read")]


def test_one_engine_lands_all_packs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one that ends gives what is free in the process back to the kernel. Without anything to land there is none."""
    monkeypatch.setattr(land, "PACK_FILES", 2)
    engines: list[duckdb.DuckDBPyConnection] = []

    def note(settings: Settings) -> duckdb.DuckDBPyConnection:
        engines.append(connect(settings))
        return engines[-1]

    connect = land.connect
    monkeypatch.setattr(land, "connect", note)
    for number in range(9):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode())
    arrivals = find_arrivals(home.settings).files
    assert len({load.pack for load in land_files(home.settings, arrivals) if isinstance(load, Load)}) == 5
    assert all(isinstance(outcome, Known) for outcome in land_files(home.settings, arrivals))
    [engine] = engines
    with pytest.raises(duckdb.ConnectionException):
        engine.execute("select 1")


def test_files_are_read_no_further_than_needed(tmp_path: Path) -> None:
    """What waits is in memory: two files at most beside the one that is taken."""
    paths = [tmp_path / str(number) for number in range(9)]
    for path in paths:
        path.write_bytes(GOOD)
    begun = []
    found = read_ahead((begun.append(path) or path for path in paths), 1 << 20, 200)  # type: ignore[func-returns-value]
    for count, first in enumerate(found, 1):
        assert isinstance(first, FirstReading)
        assert first.content.path == paths[count - 1]
        assert first.kept == [GOOD]
        assert len(begun) <= count + 2
        first.content.file.close()


@pytest.mark.usefixtures("small_blocks")
def test_smaller_batches_hold_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "PARSED_BYTES", 400)
    texts = [["x" * 100] * rows for rows in (1, 10, 0, 7)] + [["y" * 1000, "z"]]
    batches = [pa.record_batch({"line": pa.array(lines, pa.string())}) for lines in texts]
    parts = list(splitting.split_batches(batches))
    assert pa.Table.from_batches(parts) == pa.Table.from_batches(batches)
    assert [part.num_rows for part in parts] == [1, 3, 3, 3, 1, 3, 3, 1, 1, 1]


def test_a_text_that_is_no_json_costs_no_record(home: Home) -> None:
    """The engine's quick way ends at the first such line: what it had counted and written by then does not count."""
    home.put("kumomta/a", lengthen(b"{", 200))
    home.put("kumomta/b", lengthen(GOOD, 200))
    assert [(load.records_read, load.records_landed) for load in together(home)] == [(401, 400), (401, 401)]
    assert len(home.rows("kumomta")) == 801


@pytest.mark.parametrize(("change", "kind"), [(b"x" * len(GOOD), Unreadable), (GOOD + b"more", Load)])
def test_a_small_file_that_changes_while_it_is_read(
    home: Home, monkeypatch: pytest.MonkeyPatch, change: bytes, kind: type
) -> None:
    """What was there is landed where it only grew; written over, the next run takes it."""
    read = Content.read

    def read_and_change(content: Content, limit: int, stopped: Event) -> Any:
        found = read(content, limit, stopped)
        if content.path.name == "b":
            time.sleep(0.02)
            content.path.write_bytes(change)
        return found

    for name in "abc":
        home.put(f"kumomta/{name}", kumo(id=name).encode() + b"\n" if name != "b" else GOOD)
    arrivals = find_arrivals(home.settings).files
    monkeypatch.setattr(Content, "read", read_and_change)
    outcomes = land_files(home.settings, arrivals)
    assert [type(outcome) for outcome in outcomes] == [Load, kind, Load]
    assert len(home.rows("kumomta")) == (2 if kind is Unreadable else 3)


def test_what_another_lands_meanwhile_is_left_out_of_the_pack(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + b"\n{")
    arrivals = find_arrivals(home.settings).files
    write = land.PackWriter.write
    met: list[Any] = []

    def write_after_another(writer: land.PackWriter) -> list[Load]:
        loads = write(writer)
        if not met:
            met.append(None)
            met[:] = [*land_files(home.settings, arrivals[1:2]), *land_files(home.settings, arrivals[2:4])]
        return loads

    monkeypatch.setattr(land.PackWriter, "write", write_after_another)
    outcomes = land_files(home.settings, arrivals)
    assert [type(outcome) for outcome in met] == [Load] * 3
    assert [type(outcome) for outcome in outcomes] == [Load, Known, Known, Known, Load]
    assert len(read_loads(home.settings)) == 5
    assert [row[0] for row in sorted(home.rows("kumomta", columns="id"))] == list("01234")
    assert len(home.rejects("kumomta")) == 5


LAND = """
import sys, time
from pathlib import Path
from flows.landing import find_arrivals, land, land_files
from flows.settings import Settings
if __name__ == "__main__":
    land.PACK_FILES = int(sys.argv[2])
    settings = Settings(home=Path(sys.argv[1]), threads=1)
    files = find_arrivals(settings).files
    print("found", flush=True)
    sys.stdin.readline()
    land_files(settings, files)
"""


def start(home: Home, pack_files: int, script: str = LAND) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, str(home.settings.root), str(pack_files)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"found\n"
    return process


def test_two_processes_land_one_inbox_at_once(home: Home) -> None:
    for number in range(300):
        home.put(f"kumomta/{number:03}", kumo(id=str(number)).encode() + (b"\n{" if number % 3 else b"\n"))
    processes = [start(home, size) for size in (7, 11)]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    loads = read_loads(home.settings)
    assert len(loads) == 300
    assert sorted(int(row[0]) for row in home.rows("kumomta", columns="id")) == list(range(300))
    assert len(home.rejects("kumomta")) == 200


def test_two_processes_land_larger_files_at_once(home: Home) -> None:
    for number in range(12):
        lines = [kumo(id=f"{number}-{line}") for line in range(4000)]
        home.put(f"kumomta/{number:02}", "\n".join([*lines, "{"]).encode())
    assert (home.settings.inbox / "kumomta/00").stat().st_size > 1 << 20
    processes = [start(home, size) for size in (5, 3)]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len(read_loads(home.settings)) == 12
    assert len({row[0] for row in home.rows("kumomta", columns="id")}) == len(home.rows("kumomta")) == 48_000
    assert len(home.rejects("kumomta")) == 12


@pytest.mark.parametrize("step", ["rejects", "landing", "load"])
def test_killed_between_the_steps_of_a_publication(home: Home, step: str) -> None:
    """Whichever file has its name already, the pack does not count; the next run lands it, and nothing is left."""
    for number in range(6):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + b"\n{")
    script = LAND.replace(
        "import sys, time",
        f"""import os, pathlib, signal, sys
replace = pathlib.Path.replace
def replace_and_die(path, target):
    if path.stem == {step!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)
pathlib.Path.replace = replace_and_die""",
    )
    process = start(home, 100, script)
    process.communicate(b"\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert read_loads(home.settings) == []
    home.put("kumomta/6", kumo(id="6").encode() + b"\n{")  # so that the next pack has another name
    assert [type(outcome) for outcome in together(home)] == [Load] * 7
    assert len(home.rows("kumomta")) == len(home.rejects("kumomta")) == 7
    for folder in (home.settings.landing, home.settings.rejects):
        assert len(list((folder / "kumomta").glob("*.parquet"))) == 1
    assert not list((home.settings.landing / "kumomta").glob(".landing-*"))


def test_landing_alone_is_a_pack_of_one(home: Home) -> None:
    path = home.put("kumomta/a", GOOD)
    load = land_file(home.settings, Arrival("kumomta", path, "kumomta/a", len(GOOD), (0, 0, 0), True))
    assert isinstance(load, Load)
    assert (load.pack, load.landing_name) == (None, load.file_digest)


def test_a_build_reads_of_a_pack_only_what_it_has_not_built(home: Home) -> None:
    """One content of a pack may have been built before: it lies in another source too."""
    for number in range(3):
        home.put(f"kumomta/{number}", kumo(id=str(number)).encode() + b"\n{")
    home.put("ses/1", json.dumps(ses_event()).encode())
    loads = together(home)
    with duckdb.connect() as connection:
        connection.execute("create schema landing")
        for batch, ids in ((loads, "012"), (loads[1:], "12"), (loads[2:], "2"), (loads[3:], "")):
            show_batch(connection, home.settings, batch)
            assert connection.execute("select id from landing.kumomta order by 1").fetchall() == [(id,) for id in ids]
            assert connection.execute("select count(*) from landing.rejects").fetchone() == (len(ids),)
            assert connection.execute("select count(*) from landing.loads").fetchone() == (len(batch),)
