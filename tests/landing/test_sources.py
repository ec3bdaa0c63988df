"""Each source's own forms: carriers of SES, dates of syslog, tables of events, actions of administrators."""

import io
import json
import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.landing import lines

from .conftest import Home
from .records import STATUS_LINE, kumo, ses_event, sns


def lines_of(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_ses_event_in_every_carrier(home: Home) -> None:
    event = json.dumps(ses_event())
    carriers = [
        ses_event(),
        sns(event),
        {"Body": json.dumps(sns(event)), "MessageId": "sqs-1"},
        {"Body": event},
        {"detail-type": "Email Delivered", "detail": ses_event()},
        {"Messages": [{"Body": json.dumps(sns(event))}, {"Body": event}]},
    ]
    load = home.land_one("ses/all", lines_of(*carriers))
    assert load.records_read == 7
    rows = home.rows("ses", columns='record_number, record_part, "eventType", "MessageId", mail ->> \'messageId\'')
    assert rows == [
        (1, 1, "Delivery", None, "m-1"),
        (2, 1, "Delivery", "sns-1", "m-1"),
        (3, 1, "Delivery", "sns-1", "m-1"),
        (4, 1, "Delivery", None, "m-1"),
        (5, 1, "Delivery", None, "m-1"),
        (6, 1, "Delivery", "sns-1", "m-1"),
        (6, 2, "Delivery", None, "m-1"),
    ]


def test_ses_messages_that_are_no_events_land_without_a_type(home: Home) -> None:
    text = "Successfully validated SNS topic for Amazon SES event publishing."
    load = home.land_one("ses/notes", lines_of(sns(text), sns("You have chosen…", Type="SubscriptionConfirmation")))
    assert load.records_rejected == 0
    assert home.rows("ses", columns='"Type", "eventType"') == [
        ("Notification", None),
        ("SubscriptionConfirmation", None),
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ses_event("Teleport"), "unknown record type 'Teleport'"),
        (ses_event(delivery={"recipients": []}, mail={"timestamp": "2026-03-02T10:00:00Z"}), "no recipient"),
        (ses_event(delivery={}, mail={"destination": ["ann@example.org"]}), "no time"),
        (ses_event(delivery={"timestamp": "1999-12-31T23:59:59Z"}), "time before 2000: 1999-12-31 23:59:59+00"),
        (sns(json.dumps(ses_event())[:-9]), "the message of the SNS envelope is damaged JSON"),
        (ses_event("Bounce", bounce={"recipients": ["ann@example.org"]}), "no recipient"),
        ({"Body": "hello"}, "the body of the SQS message is no JSON object"),
        ({"hello": "world"}, "no eventType, notificationType or SNS Type"),
    ],
)
def test_ses_reject(home: Home, record: dict[str, object], reason: str) -> None:
    home.land_one("ses/bad", lines_of(ses_event(), record))
    assert home.rejects("ses", columns="record_number, reason") == [(2, reason)]


@pytest.mark.parametrize(
    "changes",
    [
        {"delivery": {"timestamp": "2026-03-02T10:00:01Z"}},  # no recipient of its own
        {"delivery": {"recipients": ["ann@example.org"]}},  # no time of its own
        {"delivery": "a text"},
        {"eventType": "Send"},
    ],
)
def test_ses_event_is_judged_by_its_mail_where_it_does_not_say(home: Home, changes: dict[str, object]) -> None:
    assert home.land_one("ses/a", lines_of(ses_event() | changes)).records_landed == 1


MAILGUN = {"event": "delivered", "id": "a", "timestamp": 1772445600.5, "recipient": "ann@example.org"}


def test_mailgun_event_with_and_without_its_wrapper(home: Home) -> None:
    home.land_one(
        "mailgun/mixed",
        lines_of(
            MAILGUN,
            {"signature": {}, "event-data": MAILGUN | {"id": "b"}},
            MAILGUN | {"id": "c", "tags": ["event-data"]},
            MAILGUN | {"id": "d", "event-data": "a text"},
            {"event-data": {}},
        ),
    )
    assert home.rows("mailgun", columns="record_number, id") == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert home.rejects("mailgun", columns="record_number, reason") == [(5, "no record type")]


def test_sparkpost_event_of_every_class(home: Home) -> None:
    event = {"type": "delivery", "event_id": "a", "timestamp": "1772445600", "rcpt_to": "ann@example.org"}
    classes = {"b": "message_event", "c": "gen_event", "d": "a_later_event"}
    wrapped = [{"msys": {name: event | {"event_id": key}}} for key, name in classes.items()]
    home.land_one("sparkpost/mixed", lines_of(event, *wrapped, event | {"event_id": "e", "rcpt_tags": ["msys"]}))
    assert [row[0] for row in home.rows("sparkpost", columns="event_id")] == ["a", "b", "c", "d", "e"]


TRAP = kumo(id="}{", response={"code": 250, "content": 'he said: "}{" and }\n{'})


@pytest.mark.parametrize("seam", ["", " ", "\t", ","])
def test_objects_run_together_with_a_seam_inside_a_string(home: Home, seam: str) -> None:
    together = seam.join([kumo(), TRAP, kumo(id="3")])
    load = home.land_one("kumomta/lines", "\n".join([kumo(id="0"), together, kumo(id="9")]).encode())
    assert load.records_read == 5
    rows = home.rows("kumomta", columns="record_number, record_part, id")
    assert rows == [(1, 1, "0"), (2, 1, "4e10"), (2, 2, "}{"), (2, 3, "3"), (3, 1, "9")]


@pytest.mark.parametrize("block_bytes", [7, 100, 4 << 20])
@pytest.mark.parametrize(
    "render",
    [
        lambda texts: "".join(texts),
        lambda texts: "[" + ",".join(texts) + "]",
        lambda texts: "[\n" + ",\n".join(texts) + "\n]\n",
        lambda texts: "\n".join(json.dumps(json.loads(text), indent=2, ensure_ascii=False) for text in texts),
        lambda texts: json.dumps([json.loads(text) for text in texts], indent=4),
    ],
    ids=["run together", "array on a line", "array", "pretty-printed", "pretty-printed array"],
)
def test_a_file_that_is_not_one_object_a_line(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    render,
    block_bytes: int,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr("flows.landing.content.BLOCK_BYTES", block_bytes)
    if block_bytes < 100:
        # The kind is judged by the first block, which is never this small.
        monkeypatch.setattr("flows.landing.json_text.is_document", lambda head: True)
    texts = [kumo(id="1", sender="ünï@example.com"), TRAP, kumo(id="3")]
    load = home.land_one("kumomta/document", render(texts).encode())
    assert load.records_rejected == 0
    assert [row[0] for row in home.rows("kumomta", columns="id")] == ["1", "}{", "3"]
    assert home.rows("kumomta", columns="sender")[0] == ("ünï@example.com",)


def test_a_first_line_cut_short_does_not_take_the_next_with_it(home: Home) -> None:
    home.land_one("kumomta/a", b'{"id":\n' + kumo(id="2").encode())
    assert home.rows("kumomta", columns="record_number, id") == [(2, "2")]
    assert home.rejects("kumomta", columns="record_number, record") == [(1, b'{"id":')]


def test_a_damaged_object_among_run_together_ones(home: Home) -> None:
    home.land_one("kumomta/a", (kumo(id="1") + '{"type": Bounce}' + kumo(id="3")).encode())
    assert home.rows("kumomta", columns="record_part, id") == [(1, "1"), (3, "3")]
    ((number, part, reason, record),) = home.rejects("kumomta")
    assert (number, part, record) == (1, 2, b'{"type": Bounce}')
    assert reason == "not a JSON object: Expecting value at character 10"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (STATUS_LINE, ("Mar  2 10:00:01", "mx1", "postfix/smtp", "811")),
        ("Mar 02 10:00:01 mx1 postfix/qmgr[1]: 3F2A: removed", ("Mar 02 10:00:01", "mx1", "postfix/qmgr", "1")),
        (
            "2026-03-02T10:00:01.123456+02:00 mx1 postfix-out/smtp[8]: 3F2A: x",
            ("2026-03-02T10:00:01.123456+02:00", "mx1", "postfix-out/smtp", "8"),
        ),
        ("2026-03-02T10:00:01Z mx1 postfix/smtp: x", ("2026-03-02T10:00:01Z", "mx1", "postfix/smtp", None)),
        ("2026-03-02T10:00:01+0000 mx1 dovecot: imap: x", ("2026-03-02T10:00:01+0000", "mx1", "dovecot", None)),
        ("2026 Mar  2 10:00:01.123 mx1 postfix/smtp[8]: x", ("2026 Mar  2 10:00:01.123", "mx1", "postfix/smtp", "8")),
        ("<22>Mar  2 10:00:01 mx1 sshd[4]: x", ("Mar  2 10:00:01", "mx1", "sshd", "4")),
        ("mail-1  | Mar  2 10:00:01 mx1 postfix/smtp[8]: x", ("Mar  2 10:00:01", "mx1", "postfix/smtp", "8")),
        ("Mar  2 10:00:01 mx1 last message repeated 2 times", ("Mar  2 10:00:01", "mx1", None, None)),
    ],
)
def test_syslog_prefix(home: Home, line: str, fields: tuple[str | None, ...]) -> None:
    load = home.land_one("postfix/mail.log", line.encode() + b"\n")
    assert load.records_rejected == 0
    assert home.rows("postfix", columns="logged_at, host, tag, pid") == [fields]


def test_syslog_message_is_what_follows_the_tag(home: Home) -> None:
    home.land_one("postfix/mail.log", STATUS_LINE.encode() + b"\n")
    ((message,),) = home.rows("postfix", columns="message")
    assert message == STATUS_LINE.split("]: ", 1)[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Feb 30 10:00:01 mx1 postfix/smtp[8]: x\n", "no such time: Feb 30 10:00:01"),
        (b"Mar  2 25:00:01 mx1 postfix/smtp[8]: x\n", "no such time: Mar  2 25:00:01"),
        (b"postfix/smtp[8]: x\n", "not a syslog line: no time and host at its beginning"),
        (b"1999-03-02T10:00:01Z mx1 postfix/smtp[8]: x\n", "time before 2000: 1999-03-02 10:00:01+00"),
        (STATUS_LINE[:-9].encode(), "line not finished: the file ends inside it"),
    ],
)
def test_syslog_reject(home: Home, line: bytes, reason: str) -> None:
    home.land_one("postfix/mail.log", STATUS_LINE.encode() + b"\n" + line)
    assert home.rejects("postfix", columns="record_number, reason") == [(2, reason)]


@pytest.mark.parametrize("tail", [STATUS_LINE, "Mar  2 10:00:01 mx1 postfix/qmgr[1]: 3F2A: removed"])
def test_syslog_last_line_without_newline_that_is_whole(home: Home, tail: str) -> None:
    load = home.land_one("postfix/mail.log", STATUS_LINE.encode() + b"\n" + tail.encode())
    assert load.records_landed == 2


@pytest.mark.parametrize(
    ("name", "line", "landed"),
    [
        ("maillog-20240305", "Feb 29 10:00:00 mx1 x: y", 1),
        ("maillog-2026-03-05", "Feb 29 10:00:00 mx1 x: y", 1),  # of 2024
        ("maillog-20260305", "Mar  6 10:00:00 mx1 x: y", 1),  # the day after is within the grace
        ("maillog-20000101", "Mar  6 10:00:00 mx1 x: y", 0),  # of 1999
    ],
)
def test_a_date_without_year_is_not_after_the_files_own(home: Home, name: str, line: str, landed: int) -> None:
    load = home.land_one(f"postfix/{name}", line.encode() + b"\n")
    assert load.records_landed == landed


def test_anchor_date_is_the_day_of_the_last_change_unless_named(home: Home) -> None:
    path = home.put("postfix/mail.log", STATUS_LINE.encode() + b"\n")
    os.utime(path, (0, datetime(2026, 3, 2, 23, 59, tzinfo=UTC).timestamp()))
    home.put("postfix/mail-20260304.log", STATUS_LINE.encode() + b"\n\n")
    home.land()
    assert {str(day) for (day,) in home.rows("postfix", columns="anchor_date")} == {"2026-03-02", "2026-03-04"}


EVENT = {"event_type": "bounced", "event_at": "2026-03-02T10:00:00Z", "recipient": "ann@example.org"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_at": 1772445600.5, "smtp_code": 550, "attempt_number": 3}, None),
        ({"event_at": "2026-03-02 10:00:00+02:00", "smtp_code": ""}, None),
        ({"event_type": "opened"}, "unknown event_type 'opened'"),
        ({"event_at": "yesterday"}, "event_at is no time: 'yesterday'"),
        ({"recipient": None}, "no recipient"),
        ({"smtp_code": 605}, "smtp_code is not 200 to 599: '605'"),
        ({"attempt_number": 0}, "attempt_number is no count from 1: '0'"),
    ],
)
def test_event_as_json(home: Home, changes: dict[str, object], reason: str | None) -> None:
    home.land_one("events/e.jsonl", lines_of(EVENT | changes))
    assert home.rejects("events", columns="reason") == ([(reason,)] if reason else [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_events_as_csv(home: Home, delimiter: str, newline: str) -> None:
    rows = [
        ["Recipient", "event_at", "EVENT_TYPE", "response_text", "shoe_size"],
        ["ann@example.org", "2026-03-02T10:00:00Z", "bounced", f'"no{delimiter} ""never"""', "42"],
        ["bob@example.org", "2026-03-02T10:00:00Z", "delivered", "", "4e10"],
        ["too", "few"],
        ["eve@example.org", "2026-03-02T10:00:00Z", "opened", "", ""],
    ]
    load = home.land_one("events/e.csv", newline.join(delimiter.join(row) for row in rows).encode())
    assert load.message == "unknown columns passed over: shoe_size"
    assert home.rows("events", columns="record_number, recipient, response_text") == [
        (2, "ann@example.org", f'no{delimiter} "never"'),
        (3, "bob@example.org", None),
    ]
    assert home.rejects("events") == [
        (4, 1, "2 fields where the header has 5", delimiter.join(rows[3]).encode()),
        (5, 1, "unknown event_type 'opened'", delimiter.join(rows[4]).encode()),
    ]


@pytest.mark.parametrize("block_bytes", [50, 4 << 20])
def test_csv_with_a_field_over_several_lines_and_an_open_quote(
    home: Home, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("flows.landing.content.BLOCK_BYTES", block_bytes)
    good = b'bounced,2026-03-02T10:00:00Z,ann@example.org,"550 a\n550 ""b"""\n'
    bad = b'bounced,2026-03-02T10:00:00Z,bob@example.org,"never closed\n'
    plain = b"bounced,2026-03-02T10:00:00Z,eve@example.org,x\n"
    data = b"event_type,event_at,recipient,response_text\n" + good + plain + bad + plain + bad + plain + b"\xff" + plain
    load = home.land_one("events/e.csv", data)
    assert load.records_read == 7
    assert home.rows("events", columns="record_number, response_text") == [
        (2, '550 a\n550 "b"'),
        (4, "x"),
        (6, "x"),
        (8, "x"),
    ]
    assert [row[:3] for row in home.rejects("events")] == [
        (5, 1, "quotes do not match"),
        (7, 1, "quotes do not match"),
        (9, 1, "not UTF-8: byte 0xff at position 1"),
    ]


def test_events_as_parquet(home: Home) -> None:
    table = pa.table(
        {
            "Event_Type": pa.array(["bounced", "opened"]).dictionary_encode(),
            "event_at": pa.array([datetime(2026, 3, 2, 10, 0, 0, 5)] * 2, pa.timestamp("us", "UTC")),
            "recipient": ["ann@example.org", "bob@example.org"],
            "smtp_code": pa.array([550.0, None]),
            "is_attempt": [True, None],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    home.land_one("events/e.parquet", file.getvalue())
    columns = "event_type, event_at, recipient, smtp_code, is_attempt, record_number"
    assert home.rows("events", columns=columns) == [
        ("bounced", "2026-03-02T10:00:00.000005Z", "ann@example.org", "550", "true", 1)
    ]
    ((number, _, reason, record),) = home.rejects("events")
    assert (number, reason) == (2, "unknown event_type 'opened'")
    assert json.loads(record)["recipient"] == "bob@example.org"


def test_actions(home: Home) -> None:
    action = {"action_id": "a1", "action": "remove", "at": "2026-03-02T10:00:00Z", "address": "ann@example.org"}
    whole = action | {"by": "kim", "reason": "asked by phone"}
    home.land_one("actions/a.jsonl", lines_of(whole, action, whole | {"action": "forget"}))
    assert home.rows("actions", columns='action_id, action, "by", reason') == [
        ("a1", "remove", "kim", "asked by phone")
    ]
    assert home.rejects("actions", columns="record_number, reason") == [(2, "no by"), (3, "unknown action 'forget'")]


def test_a_block_boundary_may_be_anywhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "\r\n".join([kumo(id="ü"), "", kumo(id="2"), " ", kumo(id="3")]).encode()
    for size in (1, 2, 3, len(kumo()), len(kumo()) + 1):
        monkeypatch.setattr("flows.landing.content.BLOCK_BYTES", size)
        counter = lines.Counter()
        blocks = [data[at : at + size] for at in range(0, len(data), size)]
        batches = list(lines.split_lines(blocks, counter))
        assert [number for batch in batches for number in batch["record_number"].to_pylist()] == [1, 3, 5]
        assert counter.records == 3
