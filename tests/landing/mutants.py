"""Good records of every source, and ways to spoil them: by bytes, by structure, and by what they are wrapped in."""

import bz2
import gzip
import io
import json
import lzma
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from flows.generate import generate
from flows.landing.content import sniff_compression
from tests.sources.test_dsn import ALL

from .records import kumo, ses_event, sns

ACTIONS = [
    {"action_id": "a1", "action": "add", "at": "2026-03-02T10:00:00Z", "address": "ann@example.org", "by": "kim",
     "reason": "asked"},
    {"action_id": "a2", "action": "import", "at": "2026-03-02T10:00:00Z", "address": "bob@example.org", "by": "kim",
     "reason": "moved", "list": "global", "listed_at": "2025-01-01T00:00:00Z", "origin": "ses: list.csv"},
    {"action_id": "a3", "action": "recover", "at": "2026-03-02T10:00:00Z", "by": "kim", "reason": "outage",
     "from": "2026-03-01T00:00:00Z", "until": "2026-03-01T06:00:00Z", "margin_hours": 72, "pattern": "5\\.1\\.1"},
]  # fmt: skip

DECODERS = {
    "gzip": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "none": bytes,
}
ENCODERS = (gzip.compress, zstandard.compress, bz2.compress, lzma.compress)

PIECES = (
    b"", b"\0", b"\n", b"\r\n", b"\r", b"\n\n", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b"[[[[", b"}{",
    b"\\", b'\\"', b"\\u0000", b"\\ud800", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe",
    "\u2028\u202e\u200b\u0085".encode(), b"\x1b[2J", b"\x1b]0;x\x07", b"=1+1", b"--", b"/*", b"*/", b"'; drop table x; --",
    b"$(id)", b"`id`", b"{{ x }}", b"%s%n", b"../../x", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"a" * 5000,
    b"From x@y Mon Mar  2 10:00:00 2026\n", b"--=_b1\n", b"--=_b1--\n", b"Content-Type: multipart/mixed; boundary=\n",
    b"Content-Transfer-Encoding: base64\n", b"=?utf-8?b?gICA?=", b"type,timeLogged,rcpt\n", b"(" * 300, b"<" * 300,
    b"9999999-01-01T00:00:00Z", b"0000-00-00", b"infinity", b"2026-02-30 25:61:61",
)  # fmt: skip
"""What is put in, or in place of something."""

VALUES = (
    "null", "true", "0", "-1", "1e400", "-1e400", "NaN", "Infinity", "123456789012345678901234567890",
    "1.7976931348623157e308", '""', '" "', '"\\u0000"', '"\\ud800"', '"x\\udfff\\ud800"', "[]", "{}", "[null]", "[[]]",
    '{"a":{}}', '"[]"', '"{"', '"infinity"', '"-infinity"', '"epoch"', '"now"', '"9999999-01-01T00:00:00Z"',
    '"0000-00-00T00:00:00Z"', '"2026-02-30T25:61:61Z"', '"2026-03-02T10:00:00+99:99"', '"2026-03-02T10:00:00.1234567890123Z"',
    "253402300800", "-62135596801", "1772445600000", "1772445600000000000", '"1772445600"', "1772445600.9999999999",
    '"=1+1"', '"\'; drop table x; --"', '"<script>"', '"\\u001b[2J"', '"\\u202e"', '"a@b@c"', '"<a@b.example>"',
    '"a@b\\r\\nc@d"', '"@"', '"\\u00fc@\\u00fc.example"', '"' + "a" * 300 + "@" + "b." * 200 + 'example"',
    '"550 5.1.1 ' + "x" * 70_000 + '"', '"550-a\\n550 b"', '"999 9.9.9 x"', '"5.1.99999999999"',
    "[" * 10_000 + "]" * 10_000, '{"a":' * 3000 + "1" + "}" * 3000,
)  # fmt: skip
"""JSON texts for a value, whatever it was."""


def good_contents(folder: Path) -> dict[str, list[bytes]]:
    """Decompressed contents of good files, by source."""
    found: dict[str, list[bytes]] = {}
    for path in generate(folder, messages=12, days=1, first_day=date(2026, 3, 2), seed=11, bad_records=True):
        data = path.read_bytes()
        compression = sniff_compression(data[:6])
        found.setdefault(path.relative_to(folder).parts[0], []).append(DECODERS[compression](data))
    found["kumomta"].append(kumo().encode() + b"\n")
    found["ses"].append(json.dumps(sns(json.dumps(ses_event()))).encode() + b"\n")
    found["ses"].append(json.dumps([ses_event(), ses_event("Bounce")], indent=1).encode())
    found["dsn"] += ALL
    found["actions"] = ["".join(json.dumps(action) + "\n" for action in ACTIONS).encode()]
    rows = [json.loads(line) for line in found["events"][0].splitlines() if is_object(line)][:20]
    names = sorted({name for row in rows for name in row})
    table = ",".join(names) + "\n" + "".join(",".join(csv_cell(row.get(name)) for name in names) + "\n" for row in rows)
    found["events"].append(table.encode())
    written = io.BytesIO()
    pq.write_table(pa.table({name: [csv_cell(row.get(name)) or None for row in rows] for name in names}), written)
    found["events"].append(written.getvalue())
    return found


def is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def csv_cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def mutate(random: Random, contents: list[bytes], name: str) -> tuple[str, bytes]:
    """A name and a spoilt content; half of the changes of JSON are by structure."""
    data = random.choice(contents)
    data = cut_down(random, data)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        if data.lstrip()[:1] in (b"{", b"[") and random.random() < 0.5:
            data = spoil_structure(random, data)
        elif random.random() < 0.3:
            data = spoil_lines(random, data, random.choice(contents))
        else:
            data = spoil_bytes(random, data)
    if random.random() < 0.1:
        data = data.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig")))
    if random.random() < 0.15:
        data = random.choice(ENCODERS)(data)
        if random.random() < 0.6:
            data = spoil_bytes(random, data)
    return name, data


def cut_down(random: Random, data: bytes) -> bytes:
    """A few lines of a long file, so that a change hits something."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 20 or data.startswith(b"PAR1") or random.random() < 0.2:
        return data
    start = random.choice((0, random.randrange(len(lines))))
    kept = lines[start : start + random.randint(1, 25)]
    is_headed = lines[0][:1] not in (b"{", b"[") and b"," in lines[0]
    return b"".join([lines[0], *kept] if is_headed and start else kept)


def spoil_bytes(random: Random, data: bytes) -> bytes:
    """One change somewhere: a byte, a stretch cut, doubled or replaced, or the end cut off."""
    if not data:
        return random.choice(PIECES)
    at = random.randrange(len(data))
    end = min(len(data), at + random.choice((1, 2, 5, 20, 200)))
    match random.randrange(6):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:end] + data[at:]
        case 3:
            return data[:at] + random.choice(PIECES) + data[end:]
        case 4:
            return data[:at] + random.choice(PIECES) + data[at:]
        case _:
            return data[:at]


def spoil_lines(random: Random, data: bytes, other: bytes) -> bytes:
    """Lines swapped, joined, doubled, or mixed with those of another file."""
    lines = data.splitlines(keepends=True) or [b""]
    at = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            lines[at] = lines[at].rstrip(b"\r\n")
        case 1:
            lines.insert(at, random.choice(other.splitlines(keepends=True) or [b""]))
        case 2:
            random.shuffle(lines)
        case 3:
            lines[at] = random.choice(PIECES) + b"\n"
        case _:
            lines[at] *= 2
    return b"".join(lines)


def spoil_structure(random: Random, data: bytes) -> bytes:
    """A value, a key or a level of one JSON text changed, all else being as it was."""
    lines = data.splitlines(keepends=True)
    at = random.randrange(len(lines))
    try:
        value = json.loads(lines[at])
    except (ValueError, RecursionError):
        return spoil_bytes(random, data)
    odd = random.choice(VALUES)
    holders = [holder for holder in walk(value) if holder]
    if not holders or random.random() < 0.05:
        text = odd
    else:
        holder = random.choice(holders)
        key = random.choice(list(holder) if isinstance(holder, dict) else list(range(len(holder))))
        mark = "@@odd@@"
        match random.randrange(6):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[mark] = holder[key]  # the key twice
                text = json.dumps(value).replace(f'"{mark}"', json.dumps(str(key)))
                return b"".join([*lines[:at], text.encode() + b"\n", *lines[at + 1 :]])
            case 2:
                holder[key] = [holder[key]]
            case 3:
                holder[key] = json.dumps(holder[key])
            case _:
                holder[key] = mark
        text = json.dumps(value, ensure_ascii=random.random() < 0.5).replace(f'"{mark}"', odd)
    return b"".join([*lines[:at], text.encode("utf-8", "surrogatepass") + b"\n", *lines[at + 1 :]])


def walk(value: Any) -> list[Any]:
    """All objects and arrays in a value, itself included."""
    if isinstance(value, dict):
        return [value, *(inner for each in value.values() for inner in walk(each))]
    if isinstance(value, list):
        return [value, *(inner for each in value for inner in walk(each))]
    return []
