"""The generator: its samples, its determinism, and its formats read back by small readers that share no code."""

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.generate import WRITERS, generate

SAMPLES = Path(__file__).parent.parent / "samples"
SAMPLES_ARGUMENTS = {
    "messages": 440, "days": 7, "first_day": date(2026, 3, 2), "seed": 20260307, "bad_records": True,
}  # fmt: skip

Event = tuple[str, str, str, datetime]


def read_content(path: Path) -> bytes | list[dict[str, Any]]:
    """What a file holds, without the compressor's or Parquet writer's own marks: those differ between versions."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if re.match(r"\d{8}-\d{6}", path.name):
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader,
        ):
            return reader.read()
    return path.read_bytes()


def read_lines(path: Path) -> list[str]:
    content = read_content(path)
    assert isinstance(content, bytes)
    return content.decode().splitlines()


def list_files(directory: Path) -> dict[str, Path]:
    return {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week without bad records, large enough for every fate that a source knows, with its truth beside it."""
    directory = tmp_path_factory.mktemp("week")
    generate(directory, messages=3000, days=7, first_day=date(2026, 3, 2), seed=5, truth=directory / "truth.parquet")
    return directory


def read_truth(week: Path, source: str) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(week / "truth.parquet").to_pylist() if row["source_name"] == source]


def count_truth(week: Path, source: str) -> Counter[Event]:
    return Counter(
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"]) for row in read_truth(week, source)
    )


def test_samples_are_what_the_generator_writes(tmp_path: Path) -> None:
    generate(tmp_path, **SAMPLES_ARGUMENTS)
    for source in WRITERS:
        written, kept = list_files(tmp_path / source), list_files(SAMPLES / source)
        assert list(written) == list(kept)
        for name, path in written.items():
            assert read_content(path) == read_content(kept[name]), f"samples/{source}/{name} has drifted"


def test_samples_are_small_and_varied(tmp_path: Path) -> None:
    generate(tmp_path, **SAMPLES_ARGUMENTS, truth=tmp_path / "truth.parquet")
    rows = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    assert sum(path.stat().st_size for source in WRITERS for path in list_files(SAMPLES / source).values()) < 600_000
    assert len(rows) > 3000
    assert {row["campaign_id"] for row in rows} == {"spring-sale", "newsletter-10", None}
    assert {row["from_domain"] for row in rows} == {"brand.example", "outlet.example", "harvest.example", None}
    assert len({row["sending_ip"] for row in rows} - {None}) >= 6
    assert len({row["recipient"].partition("@")[2] for row in rows}) >= 12
    replies = "\n".join(str(row["response_text"]) for row in rows)
    for text in (
        r"421 Message source blocked temporarily\. One or more sender authentication rules matched\.",
        r"421 Service Temporarily Unavailable",
        r"451 Please try again later",
        r"451 <\S+@\S+>: Recipient address rejected: Intentional policy rejection, please try again later",
        r"450 <\S+@\S+>: Sender address rejected: Greylisted for 120 seconds! Please, see http://\S+",
        r"over quota",
        r"[Mm]essage size exceeds",
    ):
        assert re.search(text, replies), text


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    arguments = SAMPLES_ARGUMENTS | {"messages": 120}
    generate(tmp_path / "one", **arguments)
    generate(tmp_path / "two", **arguments)
    one, two = list_files(tmp_path / "one"), list_files(tmp_path / "two")
    assert list(one) == list(two)
    assert all(path.read_bytes() == two[name].read_bytes() for name, path in one.items())
    generate(tmp_path / "other", **(arguments | {"seed": 1}))
    other = list_files(tmp_path / "other")
    shared = [name for name in one if name in other]
    assert shared and not any(one[name].read_bytes() == other[name].read_bytes() for name in shared)


def test_a_source_does_not_depend_on_the_others(tmp_path: Path) -> None:
    arguments = SAMPLES_ARGUMENTS | {"messages": 60}
    generate(tmp_path / "all", **arguments)
    generate(tmp_path / "one", **arguments, sources=("postfix",))
    one = list_files(tmp_path / "one")
    assert one and {name.split("/")[0] for name in one} == {"postfix"}
    assert all(path.read_bytes() == (tmp_path / "all" / name).read_bytes() for name, path in one.items())


def read_kumomta(directory: Path) -> Iterator[dict[str, Any]]:
    for path in list_files(directory / "kumomta").values():
        yield from map(json.loads, read_lines(path))


KUMOMTA_TYPES = {
    "Reception": "injected", "Delivery": "delivered", "TransientFailure": "deferred", "Bounce": "bounced",
    "Expiration": "expired", "AdminBounce": "dropped", "OOB": "out_of_band_bounce", "Feedback": "complaint",
}  # fmt: skip


def test_kumomta_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    reports: set[tuple[str, str, datetime]] = set()
    copies = 0
    lists = 0
    for record in read_kumomta(week):
        if record["type"] == "Delayed":
            continue
        at = datetime.fromisoformat(re.sub(r"\d{3}Z$", "", record["event_time"]))
        assert record["timestamp"] == int(at.replace(tzinfo=UTC).timestamp())
        kind = KUMOMTA_TYPES[record["type"]]
        recipients = record["recipient"]
        lists += isinstance(recipients, list)
        if kind == "complaint":
            recipients = record["feedback_report"]["original_rcpt_to"]
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            event = (record["id"], recipient, kind, at)
            copies += event in found
            if kind in ("out_of_band_bounce", "complaint"):
                reports.add((recipient, kind, at))
            else:
                found.add(event)
    truth = count_truth(week, "kumomta")
    assert set(truth.values()) == {1}
    is_report = {event: event[2] in ("out_of_band_bounce", "complaint") for event in truth}
    assert found == {event for event in truth if not is_report[event]}
    assert reports == {event[1:] for event in truth if is_report[event]}
    assert {event[2] for event in truth} == set(KUMOMTA_TYPES.values())
    assert copies > 20 and lists > 20


def test_kumomta_replies_fields_and_attempts(week: Path) -> None:
    truth = {
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"]): row
        for row in read_truth(week, "kumomta")
    }
    attempts: dict[tuple[str, str], set[int]] = {}
    for record in read_kumomta(week):
        if record["type"] not in ("Delivery", "TransientFailure", "Bounce"):
            continue
        at = datetime.fromisoformat(re.sub(r"\d{3}Z$", "", record["event_time"]))
        recipient = record["recipient"] if isinstance(record["recipient"], str) else record["recipient"][0]
        row = truth[record["id"], recipient, KUMOMTA_TYPES[record["type"]], at]
        attempts.setdefault((record["id"], recipient), set()).add(record["num_attempts"])
        response = record["response"]
        if response["command"] is not None:
            enhanced = response["enhanced_code"]
            code = ".".join(str(enhanced[part]) for part in ("class", "subject", "detail")) if enhanced else None
            assert (row["smtp_code"], row["enhanced_code"]) == (response["code"], code)
            parts = (str(response["code"]), code, response["content"].replace("\n", " "))
            assert row["response_text"] == " ".join(part for part in parts if part)
            assert row["sending_ip"] == record["source_address"]["address"].rpartition(":")[0]
        else:
            assert row["smtp_code"] is None and record["source_address"] is None
        campaign = record["queue"].partition(":")[0] if ":" in record["queue"] else record["meta"].get("campaign")
        assert row["campaign_id"] == campaign
        sender = record["headers"].get("From")
        assert row["from_domain"] == (sender.rpartition("@")[2].rstrip(">") if sender else None)
    assert all(numbers == set(range(len(numbers))) for numbers in attempts.values())


POSTFIX_LINE = re.compile(r"(?P<time>\w{3} [ \d]\d \S+|\S+) (?P<host>\S+) (?P<tag>\S+)\[\d+\]: (?P<text>.*)")
POSTFIX_ATTEMPT = re.compile(
    r"(?P<id>\w+): to=<(?P<recipient>\S+)>, relay=\S+, delay=[\d.]+, delays=\S+, dsn=[245]\.\d\.\d+, "
    r"status=(?P<status>sent|deferred|bounced) \((?P<text>.*)\)"
)
POSTFIX_TYPES = {"sent": "delivered", "deferred": "deferred", "bounced": "bounced"}


def read_postfix(path: Path) -> Iterator[tuple[datetime, str, str]]:
    for line in read_lines(path):
        match = POSTFIX_LINE.fullmatch(line)
        assert match, line
        if "T" in match["time"]:
            at = datetime.fromisoformat(match["time"]).astimezone(UTC).replace(tzinfo=None)
        else:
            at = datetime.strptime(f"2026 {match['time']}", "%Y %b %d %H:%M:%S")
        yield at, match["tag"], match["text"]


def test_postfix_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    suspended: set[Event] = set()
    expired: set[tuple[str, datetime]] = set()
    opened: set[str] = set()
    removed: set[str] = set()
    headers: dict[str, set[str]] = {}
    for path in list_files(week / "postfix").values():
        for at, tag, text in read_postfix(path):
            if match := POSTFIX_ATTEMPT.fullmatch(text):
                event = (match["id"], match["recipient"], POSTFIX_TYPES[match["status"]], at)
                found.add(event)
                if tag == "postfix/error":
                    assert match["text"].startswith("delivery temporarily suspended: ")
                    suspended.add(event)
            elif match := re.fullmatch(r"(\w+): from=<\S+>, status=expired, returned to sender", text):
                expired.add((match[1], at))
            elif match := re.fullmatch(r"(\w+): client=\S+", text):
                opened.add(match[1])
            elif match := re.fullmatch(r"(\w+): removed", text):
                removed.add(match[1])
            elif match := re.match(r"(\w+): info: header ((?:X-Campaign|From): .*) from app1", text):
                headers.setdefault(match[1], set()).add(match[2])
    rows = read_truth(week, "postfix")
    truth = count_truth(week, "postfix")
    assert found == {event for event in truth if event[2] != "expired"}
    assert expired == {(event[0], event[3]) for event in truth if event[2] == "expired"}
    assert suspended == {
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"])
        for row in rows if not row["is_attempt"]
    }  # fmt: skip
    assert len(suspended) > 5 and len(expired) > 5
    assert removed < opened and len(opened) == 3000
    for row in rows:
        own = headers[row["message_id"]]
        assert any(line.startswith("From: ") and line.endswith(f"@{row['from_domain']}>") for line in own)
        assert (row["campaign_id"] is None) == (len(own) == 1)
        assert row["campaign_id"] is None or f"X-Campaign: {row['campaign_id']}" in own


def test_postfix_files_are_named_by_the_day_of_rotation(week: Path) -> None:
    files = list_files(week / "postfix")
    assert "mta2/mail.log" in files
    for name, path in files.items():
        if match := re.fullmatch(r"mta\d/mail\.?log-(\d{8})\.gz", name):
            rotated = datetime.strptime(match[1], "%Y%m%d")
            times = [at for at, _, _ in read_postfix(path)]
            assert rotated - timedelta(days=1, seconds=2) <= min(times) <= max(times) <= rotated + timedelta(seconds=2)


def read_json_objects(path: Path) -> Iterator[dict[str, Any]]:
    text, position = "\n".join(read_lines(path)), 0
    while position < len(text):
        found, position = json.JSONDecoder().raw_decode(text, position)
        yield found
        while position < len(text) and text[position] == "\n":
            position += 1


SES_TIMES = {"Delivery": "delivery", "DeliveryDelay": "deliveryDelay", "Bounce": "bounce", "Complaint": "complaint"}


def test_ses_logs_the_history(week: Path) -> None:
    found: Counter[Event] = Counter()
    delivered: set[tuple[str, str]] = set()
    bounces: list[tuple[str, dict[str, Any], str, datetime]] = []
    ignored: Counter[str] = Counter()
    without_newline = 0
    for name, path in list_files(week / "ses").items():
        objects = list(read_json_objects(path))
        without_newline += len(objects) > 1 and len(read_lines(path)) == 1
        for outer in objects:
            record = json.loads(outer["Message"]) if "Message" in outer else outer
            assert ("Message" in outer) == name.startswith("sns/")
            kind = record["notificationType" if name.startswith("identity/") else "eventType"]
            mail = record["mail"]
            detail = record[SES_TIMES[kind]] if kind in SES_TIMES else mail
            at = datetime.fromisoformat(detail["timestamp"]).replace(tzinfo=None)
            if kind in ("Open", "Click"):
                ignored[kind] += 1
            elif kind in ("Send", "Reject"):
                for recipient in mail["destination"]:
                    found[mail["messageId"], recipient, "injected" if kind == "Send" else "dropped", at] += 1
            elif kind == "Delivery":
                delivered |= {(mail["messageId"], recipient) for recipient in detail["recipients"]}
                for recipient in detail["recipients"]:
                    found[mail["messageId"], recipient, "delivered", at] += 1
            elif kind == "DeliveryDelay":
                for entry in detail["delayedRecipients"]:
                    found[mail["messageId"], entry["emailAddress"], "deferred", at] += 1
            elif kind == "Complaint":
                for entry in detail["complainedRecipients"]:
                    found[mail["messageId"], entry["emailAddress"], "complaint", at] += 1
            else:
                bounces += [
                    (mail["messageId"], entry, detail["bounceSubType"], at) for entry in detail["bouncedRecipients"]
                ]
    for message_id, entry, subtype, at in bounces:
        address = entry["emailAddress"]
        if subtype == "OnAccountSuppressionList":
            kind = "dropped"
        elif (message_id, address) in delivered:
            kind = "out_of_band_bounce"
        else:
            kind = "expired" if entry["status"] == "4.4.7" else "bounced"
        found[message_id, address, kind, at] += 1
    truth = count_truth(week, "ses")
    assert set(found) == set(truth)
    assert {event[2] for event in truth} == set(KUMOMTA_TYPES.values())
    assert max(found.values()) > 1 and without_newline > 0 and set(ignored) == {"Open", "Click"}


def test_events_log_the_history(week: Path) -> None:
    rows: list[dict[str, Any]] = []
    suffixes = set()
    for path in list_files(week / "events").values():
        suffixes.add(path.suffix)
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                rows += [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
        else:
            rows += map(json.loads, read_lines(path))
    assert suffixes == {".gz", ".csv", ".parquet"}
    unique = {row["native_event_id"]: row for row in rows}
    assert len(unique) < len(rows)
    names = ("message_id", "recipient", "event_type", "from_domain", "campaign_id", "sending_ip", "response_text")
    found = Counter(
        (*(row[name] for name in names), str(row["smtp_code"]), str(row["event_at"])[:19].replace("T", " "))
        for row in unique.values()
    )
    assert found == Counter(
        (*(row[name] for name in names), str(row["smtp_code"]), str(row["event_at"]))
        for row in read_truth(week, "events")
    )


@pytest.mark.parametrize("source", WRITERS)
def test_retry_chains_cross_days_and_some_stay_open(week: Path, source: str) -> None:
    chains: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in read_truth(week, source):
        if row["event_type"] in ("deferred", "delivered", "bounced", "expired", "dropped"):
            chains.setdefault((row["message_id"], row["recipient"]), []).append(row)
    crossing = [
        chain for chain in chains.values()
        if len({row["event_at"].date() for row in chain}) > 1 and {row["event_type"] for row in chain} != {"deferred"}
    ]  # fmt: skip
    assert len(crossing) > 5
    still_open = [
        chain for chain in chains.values() if max(chain, key=lambda row: row["event_at"])["event_type"] == "deferred"
    ]
    assert len(still_open) > 2
    delivered = sum(any(row["event_type"] == "delivered" for row in chain) for chain in chains.values())
    assert 0.88 < delivered / len(chains) < 0.96


def test_people_are_mailed_after_a_hard_bounce(week: Path) -> None:
    rows = sorted(pq.read_table(week / "truth.parquet").to_pylist(), key=lambda row: row["event_at"])
    refused: set[str] = set()
    mailed_again = 0
    for row in rows:
        mailed_again += row["recipient"] in refused and row["event_type"] in ("delivered", "deferred", "bounced")
        if row["event_type"] == "bounced" and (row["smtp_code"] or 0) >= 500:
            refused.add(row["recipient"])
    assert mailed_again > 100


def test_names_and_addresses_are_reserved_ones(week: Path) -> None:
    for path in list_files(week).values():
        text = str(read_content(path)) if path.suffix != ".parquet" else str(pq.read_table(path).to_pylist())
        assert set(re.findall(r"@[a-z0-9.-]+\.([a-z]+)", text)) <= {"example"}
        # One reply names a version that looks like an address: 4.16.55.1.
        networks = set(re.findall(r"(?<![\d.-])(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}(?![\d.])", text))
        assert networks <= {"192.0.2", "198.51.100", "203.0.113", "4.16.55"}


def test_bad_records_are_added_and_nothing_is_lost(tmp_path: Path) -> None:
    arguments = SAMPLES_ARGUMENTS | {"messages": 150}
    generate(tmp_path / "good", **(arguments | {"bad_records": False}))
    generate(tmp_path / "bad", **arguments)
    good, bad = list_files(tmp_path / "good"), list_files(tmp_path / "bad")
    assert set(good) <= set(bad)
    changed = {
        name: path for name, path in bad.items() if name not in good or path.read_bytes() != good[name].read_bytes()
    }
    assert {name.split("/")[0] for name in changed} == set(WRITERS) and len(changed) == 5
    for name, path in changed.items():
        before = read_content(good[name]) if name in good else b""
        after = read_content(path)
        assert isinstance(before, bytes) and isinstance(after, bytes)
        assert after.startswith(before) and len(after) > len(before)
    cut = tmp_path / "bad" / "kumomta" / "kumo2" / "20260308-120000"
    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    assert decompressor.decompress(cut.read_bytes()).endswith(b'"recipient":"ada.ahl')
    assert not decompressor.eof


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    arguments = {"messages": 1, "days": 1, "first_day": date(2026, 3, 2), "seed": 1}
    with pytest.raises(ValueError, match="unknown source 'pigeon'; choose from kumomta"):
        generate(tmp_path, **arguments, sources=("pigeon",))
    with pytest.raises(ValueError, match="at least 1"):
        generate(tmp_path, **(arguments | {"days": 0}))
    generate(tmp_path, **arguments, sources=("events",))
    with pytest.raises(FileExistsError, match="not empty"):
        generate(tmp_path, **arguments, sources=("events",))


@settings(max_examples=5, deadline=None)
@given(
    messages=st.integers(1, 40),
    days=st.integers(1, 4),
    first_day=st.dates(date(2001, 1, 1), date(2090, 1, 1)),
    seed=st.integers(),
)
def test_any_arguments_give_a_period_within_its_days(
    tmp_path_factory: pytest.TempPathFactory, messages: int, days: int, first_day: date, seed: int
) -> None:
    directory = tmp_path_factory.mktemp("any")
    generate(directory, messages=messages, days=days, first_day=first_day, seed=seed, truth=directory / "truth.parquet")
    rows = pq.read_table(directory / "truth.parquet").to_pylist()
    assert {row["event_at"].date() for row in rows} <= {first_day + timedelta(days=day) for day in range(days)}
    assert len({row["message_id"] for row in rows if row["source_name"] == "events"}) == messages
