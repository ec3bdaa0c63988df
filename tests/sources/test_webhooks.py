"""SendGrid, Mailgun, SparkPost and Postmark: one JSON object an event, in the carriers that each vendor uses.

`fixtures/<source>.jsonl` holds every kind of record of a source, a story or two a line, what is damaged last;
`fixtures/<source>.csv` the canonical rows that must come of it.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .staged import PROJECT, rejects, staged

SOURCES = ("sendgrid", "mailgun", "sparkpost", "postmark")
FIXTURES = Path(__file__).parent / "fixtures"
SAMPLES = PROJECT.parent / "shared" / "samples"

REJECTED = {
    "sendgrid": ["unknown record type 'sneezed'", "no recipient", "no time", "no record type", "not a JSON object"],
    "mailgun": ["unknown record type 'failed'", "unknown record type 'sneezed'", "no recipient", "no time", "not a JSON object"],
    "sparkpost": ["unknown record type 'sneeze'", "no recipient", "no time", "no record type", "not a JSON object"],
    "postmark": [
        "unknown record type 'Sneeze'", "no recipient", "no time", "time more than a day after landing", "no record type",
        "not a JSON object",
    ],
}  # fmt: skip
DUPLICATES = {"sendgrid": 2, "mailgun": 2, "sparkpost": 1, "postmark": 2}
"""SendGrid: with the same id, with another. Mailgun: the webhook again, and the API. SparkPost: webhook and API."""


def fixture(source: str) -> bytes:
    return (FIXTURES / f"{source}.jsonl").read_bytes()


def written(value: Any) -> str:
    return "" if value is None else str(value)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_fixture_gives_the_expected_rows(source: str, tmp_path: Path) -> None:
    rows = staged(tmp_path, source, {"a.jsonl": fixture(source)})
    with (FIXTURES / f"{source}.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert [{name: written(row[name]) for name in expected[0]} for row in rows] == expected
    assert {row["source_name"] for row in rows} == {source}
    assert len(rows) - len({row["event_id"] for row in rows}) == DUPLICATES[source]


def test_rejects_name_their_reason(source: str, tmp_path: Path) -> None:
    staged(tmp_path, source, {"a.jsonl": fixture(source)})
    found = [reason for _, _, reason in rejects(tmp_path, source)]
    assert len(found) == len(REJECTED[source])
    for reason, expected in zip(found, REJECTED[source], strict=True):
        assert reason.startswith(expected)


def identity(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What may not depend on the file a record came in."""
    placed = {"source_file", "file_digest", "record_number", "record_part", "landed_at"}
    return sorted((tuple(repr(value) for name, value in row.items() if name not in placed)) for row in rows)


@given(data=st.data())
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_gives_the_same_events(
    source: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Split between lines into files in any order, and pretty-printed or not."""
    lines = fixture(source).splitlines()
    whole = staged(tmp_path_factory.mktemp("whole"), source, {"a.jsonl": b"\n".join(lines)})
    files: dict[str, list[bytes]] = {}
    for line in lines:
        name = data.draw(st.sampled_from("abc"))
        # a damaged line would take what follows it along once lines are no longer the unit
        is_pretty = name == "c" and is_json(line)
        files.setdefault(name if is_json(line) else "d", []).append(
            json.dumps(json.loads(line), indent=1).encode() if is_pretty else line
        )
    split = staged(
        tmp_path_factory.mktemp("split"), source, {f"{name}.json": b"\n".join(part) for name, part in files.items()}
    )
    assert identity(split) == identity(whole)


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


DRIFT: list[Any] = [
    "text",
    7,
    1.5,
    True,
    None,
    [],
    ["x"],
    {},
    {"a": {"b": 1}},
    "{",
    "[1",
    "99999999999999999999",
    "\\u0000",
]


@given(data=st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_format_that_drifts_loses_no_record(
    source: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Fields of another type, fields that are missing, fields that are new: each record lands or is rejected."""
    records = [
        record for line in fixture(source).splitlines() if is_json(line) for record in flat(json.loads(line), source)
    ]
    drifted = []
    for record in records:
        body = find_body(record)
        for _ in range(data.draw(st.integers(0, 3))):
            name = data.draw(st.sampled_from([*body, "new_field"])) if body else "new_field"
            if data.draw(st.booleans()):
                body[name] = data.draw(st.sampled_from(DRIFT))
            else:
                body.pop(name, None)
        drifted.append(record)
    home = tmp_path_factory.mktemp("drift")
    rows = staged(home, source, {"a.jsonl": b"\n".join(json.dumps(record).encode() for record in drifted)})
    landed = {(row["record_number"], row["record_part"]) for row in rows}
    rejected = {(number, part) for number, part, _ in rejects(home, source)}
    assert not landed & rejected
    assert {number for number, _ in landed | rejected} == set(range(1, len(drifted) + 1))
    assert all(row["event_at"] is not None and row["recipient"] for row in rows if row["event_type"])


def flat(value: Any, source: str) -> list[dict[str, Any]]:
    """The records of a line, out of arrays and pages."""
    if isinstance(value, list):
        return value
    for key in ("items", "results", "Bounces"):
        if isinstance(value.get(key), list):
            return list(value[key])
    return [value]


def find_body(record: dict[str, Any]) -> dict[str, Any]:
    """The object that holds the vendor's fields."""
    inner = record.get("event-data") or next(iter((record.get("msys") or {}).values()), None) or record
    assert isinstance(inner, dict)
    return inner


@pytest.mark.parametrize("render", [json.dumps, lambda page: json.dumps(page, indent=2)], ids=["line", "pretty"])
def test_a_page_of_events_and_the_same_events_bare(render: Any, tmp_path: Path) -> None:
    event = {"event": "delivered", "id": "1", "timestamp": 1772445600.25, "recipient": "ann@example.org"}
    events = [{**event, "id": str(number)} for number in range(5)]
    page = {"items": events, "paging": {"next": "x"}}
    pages = "".join([render(page), render({"items": []}), render(page)]) + "\n"
    rows = staged(
        tmp_path, "mailgun", {"pages": pages.encode(), "bare": b"\n".join(json.dumps(e).encode() for e in events)}
    )
    assert len(rows) == 15
    assert len({row["event_id"] for row in rows}) == 5
    parts = [row["record_part"] for row in rows if row["source_file"].endswith("pages")]
    assert render is not json.dumps or parts == list(range(1, 11))


def test_an_array_with_something_else_in_it(tmp_path: Path) -> None:
    event = {"email": "ann@example.org", "event": "delivered", "timestamp": 1772445600}
    rows = staged(tmp_path, "sendgrid", {"a": json.dumps([event, 7, event]).encode()})
    assert [row["record_part"] for row in rows] == [1, 3]
    assert rejects(tmp_path, "sendgrid") == [(1, 2, "not a JSON object")]


def test_configured_fields(tmp_path: Path) -> None:
    """A unique argument of SendGrid is a key of the record, under a name of the sender's choice."""
    event = {"email": "ann@example.org", "event": "delivered", "timestamp": 1772445600, "sg_message_id": "a.recvd-1"}
    event |= {"category": "fallback", "mailing no": "ignored", "mailing": "spring", "shop": "Shop <a@Shop.example>"}
    chosen = {
        "sources": {"sendgrid": {"campaign": ["record.absent", "record.mailing"], "from_domain": ["record.shop"]}}
    }
    (row,) = staged(tmp_path, "sendgrid", {"a": json.dumps(event).encode()}, chosen)
    assert (row["campaign_id"], row["from_domain"]) == ("spring", "shop.example")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples of vendors lie beside the project only where it is made")
def test_every_sample_is_accounted_for(source: str, tmp_path: Path) -> None:
    rows = staged(tmp_path, source, {path.name: path.read_bytes() for path in (SAMPLES / source).iterdir()})
    events = sum(row["event_type"] is not None for row in rows)
    ignored = sum(row["event_type"] is None for row in rows)
    found = sorted(reason for _, _, reason in rejects(tmp_path, source))
    assert (events, ignored, found) == {
        "sendgrid": (
            22, 19,
            ["no record type", "time more than a day after landing: 52409-10-24 08:06:12+00", "unknown record type 'Processed'"],
        ),
        "mailgun": (15, 11, ["no recipient"]),
        "sparkpost": (15, 22, ["no time"]),
        "postmark": (3, 6, []),
    }[source]  # fmt: skip
