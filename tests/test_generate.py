"""The generator: its samples, its determinism, and its formats read back by small readers that share no code."""

import csv
import gzip
import json
import mailbox
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.generate import WRITERS, generate
from flows.generate.history import REPORTED_SENDERS

SAMPLES = Path(__file__).parent.parent / "samples"
SAMPLES_ARGUMENTS = {
    "messages": 280, "days": 7, "first_day": date(2026, 3, 2), "seed": 20260307, "bad_records": True,
}  # fmt: skip

MESSAGES = 3000
"""Of each source in the week that most tests read."""

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
    generate(
        directory, messages=MESSAGES, days=7, first_day=date(2026, 3, 2), seed=5, truth=directory / "truth.parquet"
    )
    return directory


def read_truth(week: Path, source: str) -> list[dict[str, Any]]:
    return [row for row in pq.read_table(week / "truth.parquet").to_pylist() if row["source_name"] == source]


def count_truth(week: Path, source: str) -> Counter[Event]:
    return Counter(
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"]) for row in read_truth(week, source)
    )


@pytest.fixture(scope="module")
def sample_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("samples")
    generate(directory, **SAMPLES_ARGUMENTS, truth=directory / "truth.parquet")
    return directory


def test_samples_are_what_the_generator_writes(sample_week: Path) -> None:
    for source in WRITERS:
        written, kept = list_files(sample_week / source), list_files(SAMPLES / source)
        assert list(written) == list(kept)
        for name, path in written.items():
            assert read_content(path) == read_content(kept[name]), f"samples/{source}/{name} has drifted"


def test_samples_are_small_and_varied(sample_week: Path) -> None:
    rows = pq.read_table(sample_week / "truth.parquet").to_pylist()
    assert sum(path.stat().st_size for source in WRITERS for path in list_files(SAMPLES / source).values()) < 900_000
    assert len(rows) > 5000
    assert {row["source_name"] for row in rows} == set(WRITERS)
    assert {row["campaign_id"] for row in rows} == {"spring-sale", "newsletter-10", None}
    assert {row["from_domain"] for row in rows} == {"brand.example", "outlet.example", "harvest.example", None}
    assert len({row["sending_ip"] for row in rows} - {None}) >= 18
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
    arguments = SAMPLES_ARGUMENTS | {"messages": 60, "days": 1}
    generate(tmp_path / "one", **arguments)
    generate(tmp_path / "two", **arguments)
    one, two = list_files(tmp_path / "one"), list_files(tmp_path / "two")
    assert list(one) == list(two)
    assert all(path.read_bytes() == two[name].read_bytes() for name, path in one.items())
    generate(tmp_path / "other", **(arguments | {"seed": 1}), sources=("events", "kumomta", "postfix"))
    other = list_files(tmp_path / "other")
    shared = [name for name in one if name in other]
    assert shared and not any(one[name].read_bytes() == other[name].read_bytes() for name in shared)


def test_a_source_does_not_depend_on_the_others(tmp_path: Path) -> None:
    arguments = SAMPLES_ARGUMENTS | {"messages": 60, "days": 2}
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
    assert removed < opened and len(opened) == MESSAGES
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


def test_powermta_logs_the_history(week: Path) -> None:
    """Times have an offset or are epoch seconds; some files have a header of other columns, or a second one."""
    found: Counter[Event] = Counter()
    headers: set[str] = set()
    kinds: Counter[str] = Counter()
    truth = {
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"]): row
        for row in read_truth(week, "powermta")
    }
    types = {"d": "delivered", "t": "deferred", "r": "injected", "rb": "out_of_band_bounce", "f": "complaint"}
    for path in list_files(week / "powermta").values():
        content = read_content(path)
        assert isinstance(content, bytes) and content.count(b"\r\n") == content.count(b"\n")
        names: list[str] = []
        for values in csv.reader(content.decode().splitlines()):
            if "timeLogged" in values:
                names = values
                headers.add(",".join(names))
                kinds["header"] += 1
                continue
            row = dict(zip(names, values, strict=True))
            kinds[row["type"]] += 1
            if row["type"] in ("tq", "rs"):
                assert row["type"] == "rs" or not row["rcpt"]
                continue
            kind = types.get(row["type"]) or {"message-expired": "expired", "other": "dropped"}.get(
                row["bounceCat"], "bounced"
            )
            logged = row["timeLogged"]
            at = (
                datetime.fromtimestamp(int(logged), UTC) if logged.isdigit()
                else datetime.strptime(logged, "%Y-%m-%d %H:%M:%S%z").astimezone(UTC)
            ).replace(tzinfo=None)  # fmt: skip
            event = (row["envId"], row["rcpt"], kind, at)
            found[event] += 1
            assert (truth[event]["campaign_id"] or "") == row["jobId"]
            assert (truth[event]["sending_ip"] or "") == row["dlvSourceIp"].replace("0.0.0.0", "")
            sender = row.get("header_From", "")
            assert (truth[event]["from_domain"] or "") == sender.rpartition("@")[2].rstrip(">")
            if row["dsnDiag"]:
                assert row["dsnDiag"].startswith(f"smtp;{truth[event]['smtp_code']}")
    assert set(found) == set(truth) and set(found.values()) == {1, 2}
    assert len(headers) == 3 and kinds["header"] == 16 and kinds["tq"] > 3 and kinds["rs"] > 0
    assert any(header.startswith("type,") for header in headers) and not all(
        header.startswith("type,") for header in headers
    )


def test_sendgrid_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    ids: dict[Event, set[str]] = {}
    counts: Counter[str] = Counter()
    for name, path in list_files(week / "sendgrid").items():
        for line in read_lines(path):
            body = json.loads(line)
            assert isinstance(body, list) == name.startswith("posts/")
            for record in body if isinstance(body, list) else [body]:
                kind = {
                    "processed": "injected", "delivered": "delivered", "deferred": "deferred", "dropped": "dropped",
                    "spamreport": "complaint", "bounce": "bounced",
                }.get(record["event"])  # fmt: skip
                counts[record["event"]] += 1
                if kind is None:
                    assert record["event"] in ("open", "click")
                    continue
                if kind == "bounced" and record["type"] == "expired":
                    kind = "expired"
                elif kind == "bounced" and not record["sg_message_id"]:
                    assert "ip" not in record
                    kind = "out_of_band_bounce"
                at = datetime.fromtimestamp(record["timestamp"], UTC).replace(tzinfo=None)
                event = (record["smtp-id"][1:].partition("@")[0], record["email"], kind, at)
                counts["again"] += record["sg_event_id"] in ids.setdefault(event, set())
                ids[event].add(record["sg_event_id"])
                found.add(event)
                counts["text"] += isinstance(record.get("category"), str)
                counts["list"] += isinstance(record.get("category"), list)
    assert found == set(count_truth(week, "sendgrid"))
    assert counts["again"] > 20 and sum(len(names) > 1 for names in ids.values()) > 10
    assert min(counts[name] for name in ("open", "click", "text", "list")) > 20


def test_mailgun_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    counts: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    rows = {
        (row["message_id"], row["recipient"], row["event_type"], row["event_at"]): row
        for row in read_truth(week, "mailgun")
    }
    for name, path in list_files(week / "mailgun").items():
        for line in read_lines(path):
            body = json.loads(line)
            records = body["items"] if "items" in body else [body.get("event-data", body)]
            counts["items" if "items" in body else "webhook" if "signature" in body else "bare"] += 1
            assert ("signature" in body) == name.startswith("webhooks/")
            for record in records:
                kind = {
                    "accepted": "injected", "delivered": "delivered", "rejected": "dropped", "complained": "complaint",
                    "failed": "deferred" if record.get("severity") == "temporary" else "bounced",
                }.get(record["event"])  # fmt: skip
                if kind is None:
                    continue
                if record.get("reason") == "old":
                    kind = "expired"
                elif record.get("reason", "").startswith("suppress-"):
                    kind = "dropped"
                elif record["flags"].get("is-delayed-bounce"):
                    kind = "out_of_band_bounce"
                ids[record["id"]] += 1
                headers = record["message"]["headers"]
                at = datetime(1970, 1, 1) + timedelta(microseconds=round(record["timestamp"] * 1_000_000))
                event = (headers["message-id"], record.get("recipient", headers["to"]), kind, at)
                found.add(event)
                status = record.get("delivery-status", {})
                if status.get("message"):
                    words = f"{status['code']} {status['message']}".replace("\n", " ")
                    assert rows[event]["response_text"] == words
                campaign = [*record["tags"], *record["user-variables"].values(), None][0]
                assert rows[event]["campaign_id"] == campaign
    assert found == set(rows)
    assert ids.most_common(1)[0][1] == 2 and min(counts.values()) > 50 and len(counts) == 3


def test_sparkpost_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    ids: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for name, path in list_files(week / "sparkpost").items():
        for line in read_lines(path):
            body = json.loads(line)
            if body == [{"msys": {}}]:
                counts["ping"] += 1
                continue
            records = body["results"] if "results" in body else [next(iter(entry["msys"].values())) for entry in body]
            for record in records:
                kind = {
                    "injection": "injected", "delivery": "delivered", "delay": "deferred", "bounce": "bounced",
                    "out_of_band": "out_of_band_bounce", "spam_complaint": "complaint", "policy_rejection": "dropped",
                }.get(record["type"])  # fmt: skip
                if kind is None:
                    continue
                kind = {"24": "expired", "25": "dropped"}.get(record.get("bounce_class", ""), kind)
                stamp = record["timestamp"]
                counts[type(stamp).__name__] += 1
                at = (
                    datetime.fromisoformat(stamp) if "T" in str(stamp) else datetime.fromtimestamp(int(stamp), UTC)
                ).replace(tzinfo=None)
                found.add((record["message_id"], record["rcpt_to"], kind, at))
                ids.setdefault(record["event_id"], set()).add(name.partition("/")[0])
    truth = count_truth(week, "sparkpost")
    assert found == set(truth) and len(ids) == truth.total()
    assert counts["ping"] == 14 and counts["int"] > 100 and counts["str"] > 100
    assert sum(len(ways) == 2 for ways in ids.values()) > 10


def test_postmark_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    counts: Counter[str] = Counter()
    for path in list_files(week / "postmark").values():
        for line in read_lines(path):
            record = json.loads(line)
            kind = record.get("Type", record["RecordType"])
            counts[kind] += 1
            if kind in ("Open", "AutoResponder"):
                continue
            event_type = {
                "Delivery": "delivered", "Transient": "deferred", "ManuallyDeactivated": "dropped",
                "SpamComplaint": "complaint",
            }.get(kind, "expired" if "4.4.7" in record.get("Details", "") else "bounced")  # fmt: skip
            stamp = record.get("BouncedAt") or record["DeliveredAt"]
            at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d", r"\1", stamp)).astimezone(UTC).replace(tzinfo=None)
            recipient = record.get("Email") or record["Recipient"]
            assert (record["MessageID"], recipient, event_type, at) not in found or counts["again"] < 300
            counts["again"] += (record["MessageID"], recipient, event_type, at) in found
            found.add((record["MessageID"], recipient, event_type, at))
            assert ("From" in record) == (kind != "Delivery")
    assert found == set(count_truth(week, "postmark"))
    assert {"HardBounce", "SoftBounce", "Blocked", "DMARCPolicy", "Transient", "Open"} <= set(counts)
    assert counts["again"] > 10


EXIM_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3} [+-]\d{4})?) (?:\[\d+\] )?"
    r"(?:(?P<id>\w{6}-(?:\w{6}-\w\w|\w{11}-\w{4})) )?(?P<text>.*)"
)


def test_exim_logs_the_history(week: Path) -> None:
    found: set[Event] = set()
    message_ids: dict[str, str] = {}
    completed: set[str] = set()
    lines: set[tuple[str, str, str]] = set()
    counts: Counter[str] = Counter()
    for name, path in list_files(week / "exim").items():
        for line in read_lines(path):
            match = EXIM_LINE.fullmatch(line)
            assert match, line
            assert ("+" in match["time"]) == name.startswith("exim2/")
            if match["id"]:
                lines.add((match["id"], match["time"], match["text"]))
            if match["id"] and (arrival := re.match(r"<= \S+@.* id=(\S+) T=", match["text"])):
                message_ids[match["id"]] = arrival[1]
    for exim_id, stamp, text in lines:
        flag, _, rest = text.partition(" ")
        counts[flag] += 1
        if flag == "Completed":
            completed.add(exim_id)
        recipients: list[str] = []
        if flag == "<=" and " for " in text.rpartition('"')[2]:
            recipients = text.rpartition(" for ")[2].split()
        elif flag in ("=>", "->", "==", "**"):
            recipients = [re.split(r"[ :]", rest)[0]]
        kind = {"<=": "injected", "==": "deferred", "**": "bounced"}.get(flag, "delivered")
        if flag == "**" and "retry timeout exceeded" in text:
            kind = "expired"
        at = datetime.fromisoformat(re.sub(r" ([+-]\d\d)(\d\d)$", r"\1:\2", stamp))
        if at.tzinfo:
            at = at.astimezone(UTC).replace(tzinfo=None)
        found |= {(message_ids[exim_id], recipient, kind, at) for recipient in recipients}
    assert found == set(count_truth(week, "exim"))
    assert len(message_ids) == MESSAGES and len({len(name) for name in message_ids}) == 2
    assert completed < set(message_ids) and counts["->"] > 10
    held = [row for row in read_truth(week, "exim") if not row["is_attempt"]]
    assert len(held) > 50 and {row["response_text"] for row in held} == {
        "domain matches queue_smtp_domains, or -odqs set"
    }


def read_mails(week: Path) -> Iterator[EmailMessage]:
    for name, path in list_files(week / "dsn").items():
        if name.endswith(".mbox"):
            with closing(mailbox.mbox(path)) as box:
                for kept in box:
                    yield message_from_bytes(kept.as_bytes(), policy=policy.default)
        else:
            assert name.startswith(("single/", "Maildir/new/"))
            yield message_from_bytes(path.read_bytes(), policy=policy.default)


def test_dsn_holds_the_reports_of_messages_that_others_logged(week: Path) -> None:
    found: set[tuple[str, str, datetime]] = set()
    styles: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for report in read_mails(week):
        assert not report.defects
        ids[report["Message-ID"]] += 1
        at = report["Date"].datetime.astimezone(UTC).replace(tzinfo=None)
        if report["Auto-Submitted"]:
            styles["answer"] += 1
            continue
        text = report.as_string()
        kind = "complaint" if "Feedback-Type: abuse" in text else "out_of_band_bounce"
        styles["complaint" if kind == "complaint" else report.get_content_type()] += 1
        styles["with envelope id"] += "Original-Envelope-Id: " in text
        styles["without header"] += "Return-Path: " not in text
        patterns = (
            r"Final-Recipient: rfc822; (\S+)",
            r"Original-Rcpt-To: <(\S+)>",
            r"X-Failed-Recipients: (\S+)",
            r"^<(\S+)>:$",
        )
        recipient = next(match[1] for each in patterns if (match := re.search(each, text, re.MULTILINE)))
        found.add((recipient, kind, at))
    truth = read_truth(week, "dsn")
    assert found == {(row["recipient"], row["event_type"], row["event_at"]) for row in truth}
    assert not any(row["is_attempt"] for row in truth)
    assert min(styles.values()) > 3 and set(styles) == {
        "answer", "complaint", "multipart/report", "text/plain", "with envelope id", "without header",
    }  # fmt: skip
    assert set(ids.values()) == {1, 2}
    delivered: dict[tuple[str, str], set[str]] = {}
    for source in REPORTED_SENDERS:
        for row in read_truth(week, source):
            if row["event_type"] == "delivered":
                delivered.setdefault((source, row["recipient"]), set()).add(row["message_id"])
    by_id = Counter(
        source
        for row in truth
        for source in REPORTED_SENDERS
        if row["message_id"] in delivered.get((source, row["recipient"]), ())
    )
    assert by_id["exim"] > 20 and by_id["powermta"] > 0
    postfix_log = "".join(
        text for path in list_files(week / "postfix").values() for text in read_lines(path) if "message-id=" in text
    )
    assert sum(f"message-id=<{row['message_id']}>" in postfix_log for row in truth) > 20
    assert all(any((source, row["recipient"]) in delivered for source in REPORTED_SENDERS) for row in truth)


@pytest.mark.parametrize("source", [source for source in WRITERS if source != "dsn"])
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
        # One reply names a version that looks like an address: 4.16.55.1. PowerMTA writes 0.0.0.0 for no connection.
        networks = set(re.findall(r"(?<![\d.-])(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}(?![\d.])", text))
        assert networks <= {"192.0.2", "198.51.100", "203.0.113", "4.16.55", "0.0.0"}


def test_bad_records_are_added_and_nothing_is_lost(tmp_path: Path) -> None:
    arguments = SAMPLES_ARGUMENTS | {"messages": 90, "days": 3}
    generate(tmp_path / "good", **(arguments | {"bad_records": False}))
    generate(tmp_path / "bad", **arguments)
    good, bad = list_files(tmp_path / "good"), list_files(tmp_path / "bad")
    assert set(good) <= set(bad)
    changed = {
        name: path for name, path in bad.items() if name not in good or path.read_bytes() != good[name].read_bytes()
    }
    assert {name.split("/")[0] for name in changed} == set(WRITERS) and len(changed) == len(WRITERS) + 1
    for name, path in changed.items():
        before = read_content(good[name]) if name in good else b""
        after = read_content(path)
        assert isinstance(before, bytes) and isinstance(after, bytes)
        assert after.startswith(before) and len(after) > len(before)
    cut = tmp_path / "bad" / "kumomta" / "kumo2" / "20260304-120000"
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


@settings(max_examples=3, deadline=None)
@given(
    messages=st.integers(1, 40),
    days=st.integers(1, 3),
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
