"""Mails of a bounce mailbox as events: each mailer's report, complaints, answers, and mail that is broken."""

import random
import time
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.landing import dsn, mail
from flows.landing.source import Context
from tests.landing.conftest import Home, make_home
from tests.sources import mails
from tests.sources.staged import rejects, staged

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "samples" / "dsn"
LATEST = "2027-01-01"
SHOWN = (
    "native_event_type",
    "event_type",
    "recipient",
    "smtp_code",
    "enhanced_code",
    "response_text",
    "response_origin",
)


def shown(rows: list[dict[str, Any]], columns: tuple[str, ...] = SHOWN) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


def test_report_of_postfix_with_all_columns(tmp_path: Path) -> None:
    (row,) = staged(tmp_path, "dsn", {"new/1234.M1P2.host:2,S": mails.POSTFIX})
    row.pop("landed_at"), row.pop("file_digest"), row.pop("event_id"), row.pop("message_group_id")
    assert row == {
        "source_name": "dsn",
        "native_event_id": "report.1@mx1.example.net",
        "native_event_type": "failed",
        "event_at": datetime(2026, 3, 2, 10),
        "event_type": "out_of_band_bounce",
        "is_attempt": False,
        "message_id": "m42@news.example.com",
        "attempt_number": None,
        "recipient": "ann@example.org",
        "envelope_sender": "bounce+42@news.example.com",
        "from_domain": "brand.example",
        "sending_ip": None,
        "campaign_id": "spring",
        "mx_host": "mx.example.org",
        "mx_ip": None,
        "smtp_code": 550,
        "enhanced_code": "5.1.1",  # the remote's words, not the Status 5.0.0
        "response_text": "550 5.1.1 <ann@example.org>: no such user here",
        "response_origin": "remote",
        "native_class": "5.0.0",
        "source_file": "dsn/new/1234.M1P2.host:2,S",
        "record_number": 1,
        "record_part": 1,
        "recipient_number": 1,
    }


def test_recipients_of_one_report(tmp_path: Path) -> None:
    rows = staged(tmp_path, "dsn", {"several.eml": mails.SEVERAL})
    assert shown(rows) == [
        # the Status 4.0.0 contradicts the reply
        ("failed", "out_of_band_bounce", "ann@example.org", 552, None, "552 mailbox is over its quota", "remote"),
        ("delayed", "deferred", "bob@example.org", None, "4.4.1", "no answer from host", "local"),
        ("relayed", "delivered", "eve@example.org", None, "2.0.0", None, "unknown"),
        ("failed", "out_of_band_bounce", "dan@example.org", None, "5.2.0", "cannot open /var/mail/dan", "local"),
        ("failed (no recipient)", None, None, None, "5.0.0", None, "unknown"),
    ]
    assert {row["message_id"] for row in rows} == {"env-7"}
    assert {row["campaign_id"] for row in rows} == {"summer"}
    assert len({row["message_group_id"] for row in rows}) == 1
    assert len({row["event_id"] for row in rows}) == 5
    assert [row["event_at"] for row in rows][:2] == [datetime(2026, 3, 2, 9, 30), datetime(2026, 3, 2, 10)]
    assert not any(row["is_attempt"] for row in rows)


FAILED = "out_of_band_bounce"
PROSE = [
    ("exim", mails.EXIM, [
        (FAILED, "ann@example.org", 550, "5.1.1", "550-5.1.1 unknown 550 5.1.1 user", "remote", "198.51.100.9"),
        (FAILED, "bob@example.net", None, None, "retry timeout exceeded", "local", None),
    ]),
    ("qmail", mails.QMAIL, [
        (FAILED, "ann@example.org", 550, "5.1.1", "550 5.1.1 no such user here", "remote", "198.51.100.9"),
        (FAILED, "bob@example.net", None, "5.1.1", "Sorry, no mailbox here by that name. (#5.1.1)", "local", None),
    ]),
    ("gmail", mails.GMAIL, [
        (FAILED, "ann@example.org", 550, "5.2.1", "550 5.2.1 <ann@example.org>... closed", "remote", "198.51.100.9"),
    ]),
    ("gmail delay", mails.GMAIL_DELAY, [
        ("deferred", "ann@example.org", 450, "4.2.1", "450 4.2.1 <ann@example.org>... closed", "remote", "198.51.100.9"),
    ]),
    ("exchange", mails.EXCHANGE, [
        (FAILED, "ann@example.org", 550, "5.1.10",
         "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup", "remote", None),
    ]),
    ("sendmail", mails.SENDMAIL, [
        (FAILED, "ann@example.org", 550, "5.1.1", "550 5.1.1 no such user here", "remote", None),
        (FAILED, "bob@example.org", 452, "4.2.2", "452 4.2.2 <bob@example.org> is full", "remote", None),
    ]),
    ("postfix", mails.POSTFIX_TEXT, [
        (FAILED, "ann@example.org", 550, "5.7.1", "550 5.7.1 refused by policy", "remote", "198.51.100.9"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in PROSE], ids=[case[0] for case in PROSE])
def test_report_in_prose(tmp_path: Path, content: bytes, expected: list[tuple[Any, ...]]) -> None:
    rows = staged(tmp_path, "dsn", {"prose.eml": content})
    columns = ("event_type", "recipient", "smtp_code", "enhanced_code", "response_text", "response_origin", "mx_ip")
    assert shown(rows, columns) == expected
    if content not in (mails.SENDMAIL, mails.POSTFIX_TEXT):
        assert {row["message_id"] for row in rows} == {"m42@news.example.com"}
        assert {row["envelope_sender"] for row in rows} == {"bounce+42@news.example.com"}


def test_complaints(tmp_path: Path) -> None:
    files = {
        "1.eml": mails.COMPLAINT,
        "2.eml": mails.COMPLAINT_BY_ORIGINAL,
        "3.eml": mails.COMPLAINT_REDACTED,
        "4.eml": mails.NOT_SPAM,
    }
    rows = staged(tmp_path, "dsn", files)
    columns = ("native_event_type", "event_type", "recipient", "envelope_sender", "campaign_id", "response_text")
    assert shown(rows, columns) == [
        ("abuse", "complaint", "ann@example.org", "bounce+42@news.example.com", "spring", None),
        ("abuse", "complaint", "bob@example.org", "bounce+42@news.example.com", "spring", None),
        ("abuse", "complaint", "ann@example.org", "bounce+42@news.example.com", "spring", None),
        ("abuse (no recipient)", None, None, "bounce+42@news.example.com", "spring", None),
        ("not-spam", None, "ann@example.org", "bounce+42@news.example.com", "spring", None),
        ("not-spam", None, "bob@example.org", "bounce+42@news.example.com", "spring", None),
    ]


def test_answers_and_letters_are_no_events(tmp_path: Path) -> None:
    rows = staged(tmp_path, "dsn", {"box": mails.mbox(mails.OUT_OF_OFFICE, mails.LETTER)})
    assert shown(rows, ("native_event_type", "event_type", "recipient", "record_number")) == [
        ("auto_reply", None, None, 1),
        ("other", None, None, 2),
    ]


def test_a_field_of_the_returned_message_can_be_the_campaign(tmp_path: Path) -> None:
    """Whatever the case in which `sources.yml` and the message write its name."""
    variables = {"sources": {"dsn": {"campaign": ["headers.X-LETTER"], "from_domain": ["headers.return-path"]}}}
    (row,) = staged(tmp_path, "dsn", {"a.eml": mails.POSTFIX}, variables)
    assert (row["campaign_id"], row["from_domain"]) == ("monday", "news.example.com")


def test_copies_of_a_report_are_one_event(tmp_path: Path) -> None:
    """In another mailbox, with other transport fields, other line ends, flags of a mail reader, or quoted `From `."""
    other = mails.POSTFIX.replace(b"Hello Ann", b"From here on")
    delivered = b"Delivered-To: all@news.example.com\nX-UID: 7\nStatus: RO\n" + other
    files = {
        "one": other,
        "two": delivered.replace(b"\n", b"\r\n"),
        "three": mails.mbox(other),
        "four": mails.mbox(other, line_end=b"\r\n"),
    }
    rows = staged(tmp_path, "dsn", files)
    assert len(rows) == 4
    assert len({row["event_id"] for row in rows}) == 1
    (changed,) = staged(tmp_path / "b", "dsn", {"one": other.replace(b"no such", b"no known")})
    assert changed["event_id"] != rows[0]["event_id"]


def test_a_report_inside_a_forwarded_mail(tmp_path: Path) -> None:
    forwarded = (
        b"From: Kim <kim@brand.example>\nTo: bounces@brand.example\nSubject: Fwd: failure\nDate: Tue, 3 Mar 2026 10:00:00 +0000\n"
        b'Content-Type: multipart/mixed; boundary="f"\n\n--f\nContent-Type: text/plain\n\nsee below\n'
        b"--f\nContent-Type: message/rfc822\n\n" + mails.POSTFIX + b"\n--f--\n"
    )
    (row,) = staged(tmp_path, "dsn", {"forwarded.eml": forwarded})
    assert shown([row], ("event_type", "recipient", "message_id", "event_at")) == [
        (FAILED, "ann@example.org", "m42@news.example.com", datetime(2026, 3, 2, 10))
    ]


def rows_of(content: bytes) -> list[dict[str, Any]]:
    return dsn.read_message(content, LATEST)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b"--=_b1--\n", b""),
        lambda text: text.replace(b"\n--=_b1\n", b"\n --=_b1\n"),
        lambda text: text.replace(b"\n--=_b1", b"\n--=_other"),
        lambda text: text.replace(b'boundary="=_b1"', b"boundary="),
        lambda text: text.replace(b"; report-type=delivery-status", b""),
        lambda text: text.replace(b"multipart/report", b"multipart/mixed"),
        lambda text: text.replace(b"message/delivery-status", b"Message/Delivery-Status; name=x; charset=\xff"),
        lambda text: text.replace(b"\n\nFinal-Recipient", b"\nFinal-Recipient"),
        lambda text: text.replace(b"text/plain", b'text/plain; charset="idna"'),
        lambda text: text.replace(b"\tby mx1", b"by mx1").replace(b"\tboundary", b"boundary"),
        lambda text: text[: text.index(b"--=_b1\nContent-Type: message/rfc822")],
    ],
    ids=[
        "not closed", "indented boundary", "another boundary", "no boundary", "no report type", "mixed",
        "odd parameters", "groups run together", "hostile charset", "folds lost", "cut",
    ],
)  # fmt: skip
def test_a_damaged_report_is_read(damage) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of(damage(mails.POSTFIX))
    assert [(row["kind"], row["recipient"]) for row in rows] == [("bounce", "Ann@Example.org")]
    assert "550 5.1.1" in (rows[0]["diagnostic_code"] or "")


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("Mon, 2 Mar 2026 12:00:00 +0200", "2026-03-02T10:00:00Z"),
        ("2 Mar 2026 12:00:00 EST", "2026-03-02T17:00:00Z"),
        ("Mon, 2 Mar 26 12:00 GMT", "2026-03-02T12:00:00Z"),
        ("Mon,2 Mar 2026 12:00:00 JST", "2026-03-02T03:00:00Z"),
        ("Mon, 2 Mar 2026 12:00:00 -0000 (EST)", "2026-03-02T12:00:00Z"),
        ("Mon, 2 Mar 2026 12:00:00", "2026-03-02T12:00:00Z"),
        # what cannot be leaves the word to when the mailbox got the mail
        ("the day after", "2026-03-02T10:00:09Z"),
        ("Mon, 2 Mar 1970 12:00:00 +0000", "2026-03-02T10:00:09Z"),
        ("Mon, 2 Mar 2099 12:00:00 +0000", "2026-03-02T10:00:09Z"),
        ("Mon, 2 Mar 2026 12:00:00 +9999", "2026-03-02T10:00:09Z"),
    ],
)
def test_dates(date: str, found: str) -> None:
    content = mails.GMAIL.replace(mails.DATE.encode(), date.encode())
    assert rows_of(content)[0]["event_at"] == found


def test_rejects_name_what_was_found(tmp_path: Path) -> None:
    undated = mails.QMAIL.replace(b"Date: ", b"X-Date: ").replace(b"; Mon, 2 Mar 2026 10:00:09 +0000", b"")
    old = undated.replace(b"X-Date: Mon, 2 Mar 2026", b"Date: Sat, 2 Mar 1996")
    box = mails.mbox(mails.POSTFIX, b"note: to self\n\nbuy milk\n", old).replace(
        b"2026\nReturn-Path: <>\nReceived", b"1996\nReturn-Path: <>\nReceived"
    )
    rows = staged(tmp_path, "dsn", {"box": box, "undated.eml": undated})
    assert [row["record_number"] for row in rows] == [1]
    assert rejects(tmp_path, "dsn") == [
        (2, 1, "no mail: none of its header fields is one that mails have"),
        (3, 1, "time before 2000: 1996-03-02T10:00:00Z"),
        (3, 2, "time before 2000: 1996-03-02T10:00:00Z"),
        (1, 1, "no date: neither Date, Last-Attempt-Date, Arrival-Date nor Received says when"),
        (1, 2, "no date: neither Date, Last-Attempt-Date, Arrival-Date nor Received says when"),
    ]


@pytest.mark.parametrize(
    "content", [b"dovecot uid list\n1 a.eml\n", b'{"type": "Bounce"}\n', b"\0\1\2", b"\x89PNG\r\n"]
)
def test_a_file_that_is_no_mail_is_rejected_whole(tmp_path: Path, content: bytes) -> None:
    assert staged(tmp_path, "dsn", {"odd": content}) == []
    ((number, part, reason),) = rejects(tmp_path, "dsn")
    assert (number, part) == (0, 1)
    assert reason.startswith("a file of another kind")


HOSTILE = {
    "nested": b"Subject: x\n" + b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (depth, depth) for depth in range(500)
    ),
    "forwarded without end": b"Subject: x\nContent-Type: message/rfc822\n\n" * 20_000,
    "parts": b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 200_000,
    "parameters": b"Subject: x\nContent-Type: text/plain" + b';"' * 100_000 + b"\n\nx\n",
    "header without end": b"Subject: x\n" + b"X-A: b\n" * 1_000_000,
    "spaces": b"Subject: x\nX-A: " + b" " * 1_000_000 + b"\n" + b" \n" * 300_000 + b"\nx",
    "encoded words": b"From: postmaster@x\nSubject: " + b"=?utf-8?q?=ff?= " * 50_000 + b"\n\nx",
    "addresses": mails.QMAIL.replace(b"198.51.100.9 does", b"a@b.c " * 20_000 + b"does"),
    "a line of brackets": mails.GMAIL.replace(b"Technical", b"<" * 300_000 + b"@" * 300_000),
    "colons": mails.GMAIL.replace(b"Technical", b"reason: host " * 30_000),
    "html": mails.EXCHANGE.replace(b"<p>Delivery", b"<style" * 100_000).replace(b"text/plain", b"text/html"),
    "a large part": mails.POSTFIX.replace(b"Hello Ann", b"base64+/line\n" * 4_000_000),
    "failed recipients": mails.EXIM.replace(b"X-Failed-Recipients: ", b"X-Failed-Recipients: " + b"a@b.example," * 50_000),
    "NUL": mails.POSTFIX.replace(b"no such", b"no\0such"),
    "bytes": mails.POSTFIX.replace(b"no such", bytes(range(128, 256))),
    "broken base64": mails.POSTFIX.replace(b"Content-Type: text/plain", b"Content-Transfer-Encoding: base64\nContent-Type: text/plain"),
    "no blank line": b"Subject: x",
    "charset": mails.GMAIL.replace(b"ISO-8859-1", b"\xff\xfe\0"),
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_mail_costs_little_and_lands(content: bytes) -> None:
    begun = time.process_time()
    batch = dsn.read_chunk([(1, content, False)], LATEST)
    assert batch["flaw"].to_pylist()[0] is None
    assert time.process_time() - begun < 5  # a second at most on a quiet machine
    batch.validate(full=True)


def test_random_damage_never_stops_the_reader(tmp_path: Path) -> None:
    """Bytes changed, cut out and doubled in every kind of mail: all is landed or rejected, and SQL can read it."""
    chance = random.Random(3)
    kinds = [mails.POSTFIX, mails.SEVERAL, mails.EXIM, mails.QMAIL, mails.GMAIL, mails.EXCHANGE, mails.COMPLAINT]
    damaged = []
    for _ in range(700):
        content = bytearray(chance.choice(kinds))
        for _ in range(chance.randrange(1, 12)):
            at, length = chance.randrange(len(content)), chance.randrange(1, 60)
            match chance.randrange(3):
                case 0:
                    content[at] = chance.randrange(256)
                case 1:
                    del content[at : at + length]
                case _:
                    content[at:at] = content[at : at + length]
        damaged.append(bytes(content))
    batch = dsn.read_chunk([(number, raw, False) for number, raw in enumerate(damaged, 1)], LATEST)
    assert not [flaw for flaw in batch["flaw"].to_pylist() if flaw and flaw.startswith("cannot be read")]
    rows = staged(tmp_path, "dsn", {"box": mails.mbox(*damaged)})
    assert {row["record_number"] for row in rows} | {number for number, _, _ in rejects(tmp_path, "dsn")} >= set(
        range(1, 701)
    )


KINDS = [
    mails.POSTFIX, mails.SEVERAL, mails.EXIM, mails.QMAIL, mails.GMAIL, mails.EXCHANGE, mails.SENDMAIL,
    mails.POSTFIX_TEXT, mails.COMPLAINT, mails.OUT_OF_OFFICE, mails.LETTER,
]  # fmt: skip
ALL = [content.replace(b"m42@", b"m%d@" % number) + b"\nno. %d\n" % number for number, content in enumerate(KINDS * 2)]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        str(row[name]) for name in ("event_id", "message_group_id", "recipient", "event_type", "response_text")
    )


def test_any_split_of_a_mailbox_lands_the_same_events(tmp_path: Path) -> None:
    whole = sorted(map(key, staged(tmp_path / "whole", "dsn", {"box": mails.mbox(*ALL)})))
    chance = random.Random(5)
    for case in range(4):
        cuts = sorted(chance.sample(range(1, len(ALL)), 3))
        files = {
            f"part{begin}": mails.mbox(*ALL[begin:end], line_end=chance.choice([b"\n", b"\r\n"]))
            for begin, end in zip([0, *cuts], [*cuts, len(ALL)], strict=True)
        }
        assert sorted(map(key, staged(tmp_path / str(case), "dsn", files))) == whole
    single = {f"cur/{number}.M1.host:2,": content for number, content in enumerate(ALL)}
    assert sorted(map(key, staged(tmp_path / "maildir", "dsn", single))) == whole


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_block_boundary_may_be_anywhere(size: int) -> None:
    letters = [mails.LETTER + b"\nFrom now on, no: more\nFrom the 12:00 train of 2026\nlast\n" for _ in range(9)]
    box = mails.mbox(*letters)
    found = list(mail.cut_messages(box[at : at + size] for at in range(0, len(box), size)))
    assert len(found) == 9
    assert b"".join(found) == box
    assert {dsn.digest_message(mail.unquote_from(each.partition(b"\n")[2])) for each in found} == {
        dsn.digest_message(letters[0])
    }


def test_a_message_too_long_is_read_by_its_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "MESSAGE_LIMIT_BYTES", 10_000)
    box = mails.mbox(mails.LETTER, mails.POSTFIX + b"word\n" * 20_000, mails.LETTER)
    found = list(mail.cut_messages(box[at : at + 3000] for at in range(0, len(box), 3000)))
    assert [each[:200] in box for each in found] == [True] * 3
    assert 10_000 <= len(found[1]) <= 13_000
    assert rows_of(found[1])[0]["recipient"] == "Ann@Example.org"


def many(count: int) -> bytes:
    return mails.mbox(*(ALL[number % len(ALL)].replace(b"report.1@", b"r%d@" % number) for number in range(count)))


def test_processes_read_what_one_reads(tmp_path: Path) -> None:
    """A mailbox large enough for processes, with a reject in its middle."""
    box = many(1500) + mails.mbox(b"x: y\n\nno mail\n") + many(50)

    def land(home: Home, threads: int) -> list[tuple[Any, ...]]:
        home = Home(home.settings.model_copy(update={"threads": threads}))
        load = home.land_one("dsn/box", box)
        assert (load.records_rejected, home.rejects("dsn", columns="record_number")) == (1, [(1501,)])
        return home.rows("dsn", columns="* exclude (landed_at)")

    one, two = land(make_home(tmp_path / "one"), 1), land(make_home(tmp_path / "two"), 2)
    assert len(one) > 1550
    assert one == two


class BrokenPool:
    """A pool whose processes were killed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, *_: Any) -> None:
        raise BrokenProcessPool

    def shutdown(self, **_: Any) -> None:
        pass


def test_the_mailbox_is_read_on_where_processes_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsn, "ProcessPoolExecutor", BrokenPool)
    mailbox = dsn.Mailbox(Context(datetime(2026, 6, 1), datetime(2026, 6, 1).date()), 2)
    table = pa.Table.from_batches(list(mailbox.batches([(0, [many(1500)], False)])))
    assert sorted(set(table["record_number"].to_pylist())) == list(range(1, 1501))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the vendors' samples are not here")
def test_every_sample_is_accounted_for() -> None:
    """Each report of failure gives a recipient, and a status or words on why."""
    without_recipient = {"arf-01.eml", "arf-11.eml", "kumomta_rfc5965_1.eml", "kumomta_rfc3464_3.eml"}
    without_words = {"rfc3464-39.eml"}
    files = sorted(SHARED.iterdir())
    assert len(files) > 30
    for path in files:
        rows = rows_of(path.read_bytes())
        assert {row["kind"] for row in rows} <= {"bounce", "delay", "complaint"}, path.name
        for row in rows:
            assert bool(row["recipient"]) == (path.name not in without_recipient), path.name
            if row["kind"] != "complaint" and path.name not in without_words:
                assert row["status"] or row["text_status"] or row["diagnostic_code"] or row["text_reply"], path.name


@pytest.mark.skipif(not SHARED.is_dir(), reason="the vendors' samples are not here")
def test_samples_land(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    for path in SHARED.iterdir():
        home.put(f"dsn/{path.name}", path.read_bytes())
    home.land()
    reasons = {reason[:16] for _, _, reason, _ in home.rejects("dsn")}
    assert reasons == {"time before 2000"}
    landed = {row[0] for row in home.rows("dsn", columns="source_file")}
    rejected = {row[0] for row in home.rejects("dsn", columns="source_file")}
    # one of the samples is there under two names
    assert len(landed | rejected) == len({path.read_bytes() for path in SHARED.iterdir()})
