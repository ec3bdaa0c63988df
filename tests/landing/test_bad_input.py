"""Bad input ends in a counted reject or a clear message, never in a traceback or a silent loss."""

import bz2
import gzip
import json
import lzma
import os
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

from flows.landing import Load, Unreadable, content, find_arrivals, land_file, lines
from flows.landing.inbox import Arrival

from .conftest import Home
from .records import kumo

GOOD = kumo().encode() + b"\n"


def reasons(home: Home, source: str = "kumomta") -> list[tuple[int, str]]:
    return [(number, reason) for number, _, reason, _ in home.rejects(source)]


def test_empty_file(home: Home) -> None:
    load = home.land_one("kumomta/empty", b"")
    assert (load.records_read, load.message) == (0, "an empty file")


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("kumomta/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "a PNG image"),
        ("kumomta/list.csv", b"name,address\nAnn,ann@example.org\n", "begins like JSON: 'name,address"),
        ("postfix/kumo.log", GOOD, "begins like syslog"),
        ("ses/wide.json", GOOD.decode().encode("utf-16"), "UTF-16; convert to UTF-8"),
        ("events/plain.csv", b"a,b\n1,2\n", "missing: event_type, event_at, recipient"),
        ("events/half.parquet", b"PAR1" + b"x" * 100, "a Parquet file that cannot be read"),
        ("kumomta/esc.txt", b"\x1b[2J evil\n", r"'\x1b[2J evil"),
    ],
)
def test_file_of_another_kind(home: Home, name: str, data: bytes, found: str) -> None:
    load = home.land_one(name, data)
    assert (load.records_landed, load.records_rejected) == (0, 1)
    ((number, _, reason, record),) = home.rejects(load.source_name)
    assert number == 0
    assert found in reason
    assert data.startswith(record)


@pytest.mark.parametrize(
    ("compress", "name"),
    [(zstandard.compress, "zstd"), (gzip.compress, "gzip"), (bz2.compress, "bz2"), (lzma.compress, "xz")],
)
def test_compressed_in_several_frames(home: Home, compress, name: str) -> None:  # type: ignore[no-untyped-def]
    load = home.land_one("kumomta/20260302-100000", compress(GOOD) + compress(GOOD * 2))
    assert (load.compression, load.records_landed, load.is_complete) == (name, 3, True)


def test_skippable_zstd_frame(home: Home) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    frame = zstandard.compress(GOOD)
    load = home.land_one("kumomta/skip", skippable + frame + skippable + frame)
    assert (load.records_landed, load.is_complete) == (2, True)


@pytest.mark.parametrize(
    ("compress", "name"),
    [(zstandard.compress, "zstd"), (gzip.compress, "gzip"), (bz2.compress, "bz2"), (lzma.compress, "xz")],
)
def test_cut_frame_gives_what_came_before(home: Home, compress, name: str) -> None:  # type: ignore[no-untyped-def]
    whole = compress(GOOD * 3)
    load = home.land_one("kumomta/cut", whole + compress(GOOD)[:-20])
    assert load.records_landed >= 3
    assert not load.is_complete
    assert f"ends inside a {name} frame" in (load.message or "")


def test_damaged_frame(home: Home) -> None:
    load = home.land_one("kumomta/damaged", gzip.compress(GOOD) + b"garbage")
    assert (load.records_landed, load.is_complete) == (1, False)
    assert "damaged gzip data near byte" in (load.message or "")


def test_bomb_is_stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "INFLATION_FLOOR_BYTES", 1 << 20)
    load = home.land_one("kumomta/bomb", zstandard.compress(GOOD + b"\n" * (2 << 20)))
    assert (load.records_landed, load.is_complete) == (1, False)
    assert "over 200 times its file" in (load.message or "")


@pytest.mark.parametrize(
    ("compress", "name", "largest"),
    [
        (zstandard.compress, "zstd", 128 << 20),
        (gzip.compress, "gzip", content.BLOCK_BYTES),
        (bz2.compress, "bz2", content.BLOCK_BYTES),
        (lzma.compress, "xz", content.BLOCK_BYTES),
    ],
)
def test_a_bomb_comes_out_in_pieces(compress, name: str, largest: int) -> None:  # type: ignore[no-untyped-def]
    """200 bytes of bz2 hold all of it."""
    bomb = compress(b"\0" * (1 << 28))
    stored = (bomb[start : start + content.FEED_BYTES] for start in range(0, len(bomb), content.FEED_BYTES))
    sizes = [len(piece) for piece in content.decompress(stored, content.Reading(name))]
    assert sum(sizes) == 1 << 28
    assert max(sizes) <= largest


def test_long_lines(home: Home) -> None:
    long = kumo(meta={"pad": "x" * (50 << 20)}).encode()
    garbage = b"x" * (50 << 20)
    load = home.land_one("kumomta/long", GOOD + long + b"\n" + garbage + b"\n" + GOOD)
    assert (load.records_landed, load.records_rejected) == (3, 1)
    ((number, reason, length),) = home.rejects("kumomta", columns="record_number, reason, octet_length(record)")
    assert (number, length) == (3, 50 << 20)
    assert reason.startswith("not a JSON object")


def test_pieces_of_any_size_come_in_few_blocks_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "BLOCK_BYTES", 1000)
    text = bytes(range(256)) * 40
    for sizes in ([1], [999], [1000], [1001], [600], [7, 0, 4500, 300], [len(text)]):
        ends = [0]
        while ends[-1] < len(text):
            ends.append(ends[-1] + sizes[len(ends) % len(sizes)])
        blocks = list(content.regroup(text[start:end] for start, end in pairwise(ends)))
        assert b"".join(blocks) == text
        assert max(map(len, blocks)) <= 1000
        assert len(blocks) <= 2 * len(text) / 1000 + 1


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_line_too_long_to_be_kept(home: Home, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(content, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines, "LINE_LIMIT_BYTES", 5000)
    monkeypatch.setattr(lines, "KEPT_BYTES", 100)
    parts = {"first": [b"{" + b"x" * 9999, GOOD[:-1]], "middle": [GOOD[:-1], b"{" + b"x" * 9999, GOOD[:-1]]}
    parts["last"] = parts["middle"][:2]
    load = home.land_one("kumomta/over", b"\n".join(parts[place]))
    assert load.records_read == len(parts[place])
    ((number, _, reason, record),) = home.rejects("kumomta")
    assert number == (1 if place == "first" else 2)
    assert "(10000 bytes)" in reason
    assert record == b"{" + b"x" * 99


def test_bad_bytes_reject_their_line_only(home: Home) -> None:
    bad = b'{"type":"Delivery","id":"\xff"}'
    nul = b'{"type":"Del\0ivery"}'
    load = home.land_one("kumomta/bytes", GOOD + bad + b"\n\n" + nul + b"\r\n" + GOOD)
    assert load.records_landed == 2
    assert reasons(home) == [(2, "not UTF-8: byte 0xff at position 26"), (4, "holds a NUL byte")]
    assert [record for *_, record in home.rejects("kumomta")] == [bad, nul]
    assert [row[0] for row in home.rows("kumomta", columns="record_number")] == [1, 5]


def test_bytes_that_are_no_text_reject_their_line_only(home: Home) -> None:
    load = home.land_one("kumomta/bytes", GOOD + b'{"type":"\xc3"}\n' + GOOD)
    assert load.records_landed == 2
    assert reasons(home) == [(2, "not UTF-8: byte 0xc3 at position 10")]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (kumo(timestamp=3600), "time before 2000: 1970-01-01 01:00:00+00"),
        (kumo(event_time="2100-01-01T00:00:00Z"), "time more than a day after landing: 2100-01-01 00:00:00+00"),
        (kumo(type="Teleport"), "unknown record type 'Teleport'"),
        (kumo(type=...), "no record type"),
        (kumo(recipient=...), "no recipient"),
        (kumo(timestamp="soon"), "no time"),
        ("[" * 100_000, "not a JSON object: brackets around nothing"),
        ('{"meta":' * 100_000, "not a JSON object: nested too deep"),
        ("{}{", "no record type"),
        ('"text"', "not a JSON object"),
    ],
)
def test_rejected_record(home: Home, record: str, reason: str) -> None:
    load = home.land_one("kumomta/bad", GOOD + record.encode() + b"\n" + GOOD)
    assert load.records_landed == 2
    found = home.rejects("kumomta")
    assert found[0][0] == 2
    assert found[0][2].startswith(reason)
    assert b"".join(row[3] for row in found) == record.encode()


def test_odd_but_valid_json_lands(home: Home) -> None:
    doubled = kumo().replace('"id": "4e10"', '"id": "first", "id": "second"')
    number = kumo(id=...).replace('"size": 2048', '"size": 123456789012345678901234567890, "num": NaN')
    deep = kumo(meta=...)[:-1] + ', "meta": ' + "[" * 100_000 + "]" * 100_000 + "}"
    home.land_one("kumomta/odd", "\n".join([doubled, number, deep, kumo()]).encode())
    assert home.rows("kumomta", columns="id, size, length(meta)") == [
        ("first", "2048", None),
        (None, "123456789012345678901234567890", None),
        ("4e10", "2048", 200_000),
        ("4e10", "2048", None),
    ]


def test_bom_crlf_and_no_final_newline(home: Home) -> None:
    data = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\r\n  \r\n" + GOOD[:-1]
    load = home.land_one("kumomta/windows", data)
    assert load.records_rejected == 0
    assert home.rows("kumomta", columns="record_number, id") == [(1, "4e10"), (4, "4e10")]


def test_what_cannot_be_read_is_reported(home: Home) -> None:
    folder = home.settings.inbox / "kumomta"
    home.put("kumomta/good", GOOD)
    (folder / "pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(folder / "nowhere")
    outside = home.settings.root / "outside"
    outside.write_bytes(GOOD)
    (folder / "leads-out").symlink_to(outside)
    arrivals = find_arrivals(home.settings)
    assert [arrival.source_file for arrival in arrivals.files] == ["kumomta/good"]
    messages = {each.source_file: each.message for each in arrivals.unreadable}
    assert messages == {
        "kumomta/dangling": "cannot be read: its link leads nowhere",
        "kumomta/leads-out": "a link that leads out of the inbox; put the file there, or a hard link to it",
        "kumomta/pipe": "is a pipe, not a file",
    }


@pytest.mark.parametrize("kind", ["folder", "pipe", "gone"])
def test_a_file_that_became_something_else(home: Home, kind: str) -> None:
    path = home.settings.inbox / "kumomta" / "log"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    outcome = land_file(home.settings, Arrival("kumomta", path, "kumomta/log", 0, (0, 0, 0), True))
    assert isinstance(outcome, Unreadable)
    assert outcome.source_file == "kumomta/log"


@pytest.mark.parametrize("source", ["kumomta", "postfix", "ses"])
def test_every_vendor_sample_is_accounted_for(home: Home, source: str) -> None:
    samples = Path(__file__).parents[3] / "shared" / "samples" / source
    if not samples.is_dir():
        pytest.skip("the vendors' samples are not beside this project")
    for path in samples.iterdir():
        home.put(f"{source}/{path.name}", path.read_bytes())
    loads = [load for load in home.land() if isinstance(load, Load)]
    assert loads
    for load in loads:
        assert load.records_read == load.records_landed + load.records_rejected
        assert len(home.rows(source, load.file_digest)) == load.records_landed > 0
        assert len(home.rejects(source, load.file_digest)) == load.records_rejected


def test_load_record_is_what_was_returned(home: Home) -> None:
    load = home.land_one("kumomta/a", GOOD + b"{\n")
    written = json.loads((home.settings.landing / "kumomta" / f"{load.file_digest}.json").read_text())
    assert written == load.__dict__
    assert (load.records_read, load.records_landed, load.records_rejected) == (2, 1, 1)
