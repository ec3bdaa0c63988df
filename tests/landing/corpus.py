"""Malformed inputs over all sources, made by code, each with the account that it must end in."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.sources import mails

from .records import STATUS_LINE, kumo, ses_event, sns

MB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A file of a source; of its records `events` become events, `ignored` land and are none, `rejects` say why."""

    source: str
    title: str
    make: Callable[[], bytes]
    events: int = 0
    ignored: int = 0
    rejects: tuple[str, ...] = ()
    message: str | None = None

    @property
    def records(self) -> int:
        return self.events + self.ignored + len(self.rejects)

    def __str__(self) -> str:
        return f"{self.source}: {self.title}"


def case(
    source: str,
    title: str,
    made: bytes | Callable[[], bytes],
    events: int = 0,
    *rejects: str,
    ignored: int = 0,
    message: str | None = None,
) -> Case:
    make = made if callable(made) else lambda: made
    return Case(source, title, make, events, ignored, rejects, message)


def line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


def sendgrid(**changes: Any) -> dict[str, Any]:
    return {"email": "ann@example.org", "timestamp": 1772445600, "event": "delivered", "sg_event_id": "e1",
            "sg_message_id": "m1.recvd-1", "response": "250 ok"} | changes  # fmt: skip


def mailgun(**changes: Any) -> dict[str, Any]:
    return {"event": "delivered", "id": "g1", "timestamp": 1772445600.25, "recipient": "ann@example.org",
            "message": {"headers": {"message-id": "m1@example.com"}}} | changes  # fmt: skip


def sparkpost(**changes: Any) -> dict[str, Any]:
    event = {"type": "delivery", "event_id": "s1", "timestamp": "1772445600", "message_id": "m1",
             "rcpt_to": "ann@example.org"}  # fmt: skip
    return {"msys": {"message_event": event | changes}}


def postmark(**changes: Any) -> dict[str, Any]:
    return {"RecordType": "Bounce", "Type": "HardBounce", "ID": 1, "MessageID": "m1", "Email": "ann@example.org",
            "BouncedAt": "2026-03-02T10:00:00Z", "Details": "550 no"} | changes  # fmt: skip


def event(**changes: Any) -> dict[str, Any]:
    return {"event_type": "bounced", "event_at": "2026-03-02T10:00:00Z", "recipient": "ann@example.org",
            "message_id": "m1", "smtp_code": "550", "response_text": "550 no"} | changes  # fmt: skip


def action(**changes: Any) -> dict[str, Any]:
    return {"action_id": "a1", "action": "add", "at": "2026-03-02T10:00:00Z", "address": "ann@example.org", "by": "kim",
            "reason": "asked"} | changes  # fmt: skip


def doubled(record: dict[str, Any], key: str, first: str) -> bytes:
    """An object with a key twice, `first` before the value it has."""
    return b'{"' + key.encode() + b'": ' + first.encode() + b", " + line(record)[1:]


def raw_value(record: dict[str, Any], key: str, value: str) -> bytes:
    """An object with any text for a value."""
    return line(record | {key: "@@"}).replace(b'"@@"', value.encode())


def parquet(columns: dict[str, Any]) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


def skippable(frame: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello" + frame


KUMO = kumo().encode() + b"\n"
POSTFIX = STATUS_LINE.encode() + b"\n"
EXIM = b"2026-03-02 10:00:00 1pXabc-000001-AA ** ann@example.org R=dnslookup T=remote_smtp: SMTP error: 550 no\n"
PMTA_HEAD = b"type,timeLogged,orig,rcpt,dsnStatus,dsnDiag\n"
PMTA = b"b,2026-03-02 10:00:00+0000,news@brand.example,ann@example.org,5.1.1,smtp;550 no\n"
CSV_HEAD = b"event_type,event_at,recipient,message_id,response_text\n"
CSV = b"bounced,2026-03-02T10:00:00Z,ann@example.org,m1,550 no\n"
NOT_JSON = "not a JSON object"
FOREIGN = "a file of another kind: "

COMPRESSED = [
    case("kumomta", "zstd cut in its frame", zstandard.compress(KUMO * 3) + zstandard.compress(KUMO)[:-9], 3,
         message="ends inside a zstd frame"),
    case("kumomta", "gzip cut in its check sum", gzip.compress(KUMO * 4)[:-4], 4, message="ends inside a gzip frame"),
    case("postfix", "gzip cut in its header", gzip.compress(POSTFIX)[:6], message="ends inside a gzip frame"),
    case("exim", "bz2 with a flipped bit", lambda: flip(bz2.compress(EXIM * 50), 60), message="damaged bz2 data"),
    case("ses", "xz cut", lzma.compress(line(ses_event()))[:-8], 1, message="ends inside a xz frame"),
    case("sendgrid", "zstd with garbage behind", zstandard.compress(line(sendgrid())) + b"garbage", 1,
         message="damaged zstd data"),
    case("mailgun", "gzip padded with NUL", gzip.compress(line(mailgun())) + b"\0" * 4000, 1),
    case("sparkpost", "a skippable frame first", skippable(zstandard.compress(line(sparkpost()))), 1),
    case("postmark", "gzip in gzip", gzip.compress(gzip.compress(line(postmark()))), 0, FOREIGN + "no line of its first"),
    case("dsn", "gzip of half a mailbox", lambda: gzip.compress(mails.mbox(mails.POSTFIX))[:-200],
         0, "message not finished", message="ends inside a gzip frame"),
    case("events", "a Parquet file in gzip", lambda: gzip.compress(parquet({"event_type": ["bounced"]})), 0,
         FOREIGN + "a Parquet file inside gzip"),
    case("powermta", "gzip cut in a row", lambda: gzip.compress(PMTA_HEAD + PMTA * 500)[:-12], 497,
         "row not finished", message="ends inside a gzip frame"),
    case("kumomta", "an empty zstd frame", zstandard.compress(b"")),
    case("kumomta", "xz that wants 4 GiB for its dictionary", lambda: lzma.compress(
        KUMO, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "preset": 0}]), message="damaged xz data"),
]  # fmt: skip

ENCODINGS = [
    case("kumomta", "a byte order mark and CRLF", b"\xef\xbb\xbf" + KUMO.replace(b"\n", b"\r\n") + b"\r\n" + KUMO, 2),
    case("kumomta", "UTF-16 with its mark", KUMO.decode().encode("utf-16"), 0, FOREIGN + "UTF-16; convert to UTF-8"),
    case("postfix", "UTF-16 without a mark", POSTFIX.decode().encode("utf-16-le"), 0, FOREIGN + "no line of its first"),
    case("powermta", "UTF-16 without a mark, big-endian", (PMTA_HEAD + PMTA).decode().encode("utf-16-be"), 0,
         FOREIGN + "its first line is no header"),
    case("events", "CSV in UTF-32", (CSV_HEAD + CSV).decode().encode("utf-32"), 0, FOREIGN),
    case("postfix", "Latin-1 in one line of three", POSTFIX + POSTFIX.replace(b"such", b"caf\xe9") + POSTFIX, 2,
         "not UTF-8: byte 0xe9"),
    case("exim", "three encodings in one file", EXIM + EXIM.replace(b"no\n", "né\n".encode())
         + EXIM.replace(b"no\n", b"n\xe9\n") + EXIM.replace(b"no\n", b"\x82\xa0\n"), 2, "not UTF-8", "not UTF-8"),
    case("kumomta", "a lone surrogate as UTF-8", KUMO + KUMO.replace(b"ok", b"\xed\xa0\x80"), 1, "not UTF-8: byte 0xed"),
    case("kumomta", "a lone surrogate as an escape", KUMO + raw_value(json.loads(kumo()), "id", '"\\ud800x"'), 1,
         NOT_JSON),
    case("sendgrid", "NUL in a line", line(sendgrid()) + b'{"event":"\0"}\n', 1, "holds a NUL byte"),
    case("sendgrid", "NUL as an escape", raw_value(sendgrid(), "response", '"a\\u0000b"'), 1),
    case("powermta", "NUL in a row", PMTA_HEAD + PMTA + PMTA.replace(b"no", b"\0"), 1, "holds a NUL byte"),
    case("events", "Latin-1 in a CSV row", CSV_HEAD + CSV + CSV.replace(b"no", b"\xe9"), 1, "not UTF-8: byte 0xe9"),
    case("exim", "overlong UTF-8", EXIM + EXIM.replace(b"no", b"\xc0\xaf"), 1, "not UTF-8: byte 0xc0"),
    case("dsn", "header fields in Latin-1 and a body in none", lambda: mails.POSTFIX.replace(
        b"Undelivered Mail", b"Unzustellbar \xe4\xff").replace(b"no such", b"\xfe\xff\0"), 1),
    case("postfix", "only NUL", b"\0" * 5000, 0, FOREIGN + "no line of its first"),
    case("kumomta", "only line ends", b"\r\n\n\r\n" * 100),
    case("kumomta", "only a byte order mark", b"\xef\xbb\xbf"),
    case("dsn", "only blanks", b" \n\t\n"),
    case("postfix", "old Mac line ends", POSTFIX.replace(b"\n", b"\r") * 2, 1),
    case("kumomta", "Unicode's own line ends in a value", KUMO.replace(b"ok", "a\u2028b\u0085c".encode()), 1),
]  # fmt: skip

LARGE = [
    case("kumomta", "a good line of 50 MB", lambda: KUMO + line(json.loads(kumo(meta={"pad": "x" * 50 * MB}))) + KUMO, 3),
    case("postfix", "a line of 50 MB", lambda: POSTFIX + POSTFIX.replace(b"no such", b"x" * 50 * MB), 2),
    case("exim", "a line of 65 MB without an end", lambda: EXIM + b"x" * 65 * MB, 1, "longer than 64 MiB"),
    case("powermta", "a row of 50 MB", lambda: PMTA_HEAD + PMTA + PMTA.replace(b"550 no", b"x" * 50 * MB), 2),
    case("powermta", "a quoted field of 2 MB over two lines", lambda: PMTA_HEAD
         + PMTA.replace(b"smtp;550 no", b'"' + b"x" * MB + b"\n" + b"y" * MB + b'"'), 1),
    case("events", "a CSV row of 65 MB", lambda: CSV_HEAD + CSV + CSV.replace(b"550 no", b"x" * 65 * MB) + CSV, 2,
         "longer than 64 MiB"),
    case("sendgrid", "an array of 20,000 on one line", lambda: line([sendgrid()] * 20_000), 20_000),
    case("dsn", "a mail with a body of 30 MB", lambda: mails.POSTFIX + b"x" * 30 * MB, 1),
    case("dsn", "a header field of 3 MB", lambda: b"X-Long: " + b"y" * 3 * MB + b"\n" + mails.POSTFIX, 0, "no mail: none of"),
    case("dsn", "a report on 6,000 recipients", lambda: mails.multipart(("message/delivery-status", mails.status(
        "Reporting-MTA: dns; mx", *(f"Final-Recipient: rfc822; u{n}@example.org\nAction: failed\nStatus: 5.1.1"
                                    for n in range(6000))))), 0, "speaks of more than 5000 recipients"),
]  # fmt: skip

JSON = [
    case("kumomta", "arrays 10,000 deep in a field", raw_value(json.loads(kumo()), "meta", "[" * 10_000 + "]" * 10_000), 1),
    case("ses", "objects 10,000 deep", KUMO[:0] + b'{"mail":' * 10_000 + b"1" + b"}" * 10_000 + b"\n" + line(ses_event()), 1,
         "no eventType"),
    case("mailgun", "brackets 100,000 deep that never close", line(mailgun()) + b"[" * 100_000, 1, NOT_JSON),
    case("kumomta", "a key twice: the first counts", doubled(json.loads(kumo()), "type", '"Bounce"'), 1),
    case("sparkpost", "msys twice", b'{"msys":{},' + line(sparkpost())[1:], ignored=1),
    case("sendgrid", "NaN and Infinity", raw_value(sendgrid(), "attempt", "NaN") + raw_value(sendgrid(), "tls", "-Infinity"),
         2),
    case("sendgrid", "NaN for a time", raw_value(sendgrid(), "timestamp", "NaN"), 0, "no time"),
    case("sendgrid", "Infinity for a time", raw_value(sendgrid(), "timestamp", '"Infinity"'), 0, "time more than a day"),
    case("kumomta", "integers of 400 digits", raw_value(json.loads(kumo()), "size", "9" * 400), 1),
    case("kumomta", "an attempt of 400 digits", raw_value(json.loads(kumo()), "num_attempts", "9" * 400), 1),
    case("kumomta", "the last attempt that an integer holds", raw_value(json.loads(kumo()), "num_attempts", "2147483647"), 1),
    case("sparkpost", "the same of retries", line(sparkpost(num_retries=2147483647)), 1),
    case("postmark", "seconds where ISO 8601 is usual", line(postmark(BouncedAt="1772445601.0")), 1),
    case("kumomta", "a code of 400 digits", raw_value(json.loads(kumo()), "response", '{"code":' + "9" * 400 + "}"), 1),
    case("sendgrid", "1e400 for a time", raw_value(sendgrid(), "timestamp", "1e400"), 0, "no time"),
    case("mailgun", "a field that becomes an array", line(mailgun(recipient=["ann@example.org"])), 1),
    case("postmark", "a field that becomes an object", line(postmark(Email={"a": 1})), 1),
    case("ses", "an array where an object was", line(ses_event(mail=[1, 2])), 1),
    case("ses", "recipients that are numbers", line(ses_event("Bounce", bounce={"bouncedRecipients": [1]})), 0, "no recipient"),
    case("ses", "an SNS message cut in its JSON", line(sns(json.dumps(ses_event())[:-9])), 0, "the message of the SNS"),
    case("ses", "an SNS message that is a number", line(sns(7)), ignored=1),
    case("postmark", "scalars where objects should be", b'1\n"x"\nnull\ntrue\n' + line(postmark()), 1,
         NOT_JSON, NOT_JSON, NOT_JSON, NOT_JSON),
    case("kumomta", "single quotes", KUMO + KUMO.replace(b'"', b"'"), 1, NOT_JSON),
    case("kumomta", "comments and a trailing comma", KUMO + b"// a comment\n" + KUMO[:-2] + b",}\n", 2, NOT_JSON),
    case("mailgun", "objects run together", line(mailgun())[:-1] * 3 + b"\n", 3),
    case("mailgun", "pretty-printed and cut", json.dumps([mailgun(), mailgun(id="g2")], indent=2).encode()[:-40], 1, NOT_JSON),
    case("mailgun", "two files pasted in the middle of a line", line(mailgun())[:70] + line(mailgun()), 0, NOT_JSON),
    case("actions", "an action of an unknown list", line(action(list="x")) + line(action()), 1, "unknown list 'x'"),
    case("actions", "an action cut by a crash", line(action()) + line(action())[:40], 1, NOT_JSON),
    case("actions", "a pattern that does not compile", line(action(action="recover", pattern="(", until="2026-03-02T10:00:00Z",
         **{"from": "2026-03-02T09:00:00Z"})), 0, "pattern is no regular expression"),
]  # fmt: skip

TIMES = [
    case("kumomta", "1970", kumo(timestamp=14).encode(), 0, "time before 2000"),
    case("kumomta", "milliseconds for seconds", kumo(timestamp=1772445600000).encode(), 0, "time more than a day after"),
    case("kumomta", "nanoseconds for seconds", kumo(timestamp=1772445600000000000).encode(), 0, "no time"),
    case("kumomta", "a negative time", kumo(timestamp=-62135596801).encode(), 0, "time before 2000"),
    case("kumomta", "a time beyond 64 bits", raw_value(json.loads(kumo()), "timestamp", "9" * 30), 0, "no time"),
    case("ses", "the year 0", line(ses_event(delivery={"timestamp": "0000-01-01T00:00:00Z", "recipients": ["a@b.example"]})), 0,
         "time before 2000"),
    case("events", "the year 9999999", line(event(event_at="9999999-01-01T00:00:00Z")), 0, "event_at is no time"),
    case("events", "the year 99999", line(event(event_at="99999-01-01T00:00:00Z")), 0, "time more than a day"),
    case("events", "a year before Christ", line(event(event_at="0044-03-15 (BC) 00:00:00")), 0, "time before 2000"),
    case("events", "words that the engine knows", b"".join(line(event(event_at=word)) for word in (
        "infinity", "-infinity", "epoch", "now", "today")), 0, "time more than", "time before", "time before",
        "event_at is no time", "event_at is no time"),
    case("events", "a zone of 99 hours", line(event(event_at="2026-03-02T10:00:00+99:99")), 0, "event_at is no time"),
    case("events", "13 digits after the point", line(event(event_at="2026-03-02T10:00:00.1234567890123Z")), 1),
    case("events", "30 February", line(event(event_at="2026-02-30T10:00:00Z")), 0, "event_at is no time"),
    case("events", "a leap second", line(event(event_at="2016-12-31T23:59:60Z")), 0, "event_at is no time"),
    case("postmark", "the year 10000", line(postmark(BouncedAt="10000-01-01T00:00:00Z")), 0, "time more than a day"),
    case("postfix", "the 31st of June", POSTFIX + POSTFIX.replace(b"Mar  2", b"Jun 31"), 1, "no such time"),
    case("exim", "a minute of 61", EXIM + EXIM.replace(b"10:00", b"10:61"), 1, "no such time"),
    case("powermta", "a time of another century", PMTA_HEAD + PMTA.replace(b"2026", b"1026"), 0, "time before 2000"),
    case("powermta", "nanoseconds", PMTA_HEAD + PMTA.replace(b"2026-03-02 10:00:00+0000", b"1772445600000000000"), 0,
         "timeLogged is no time"),
    case("dsn", "a date of the year 99999", lambda: mails.POSTFIX.replace(b"2026", b"99999"), 0, "no date"),
    case("dsn", "the year 00, which RFC 5322 lets be 2000", lambda: mails.POSTFIX.replace(b"2026", b"00"), 1),
    case("actions", "a time of the year 9999999", line(action(at="9999999-01-01T00:00:00Z")), 0, "at is no time"),
    case("actions", "a time in 2100", line(action(at="2100-01-01T00:00:00Z")), 0, "time more than a day"),
]  # fmt: skip

TABLES = [
    case("events", "a stray quote in a CSV field", CSV_HEAD + CSV.replace(b"550 no", b'550 "no') + CSV, 1, "quotes do not match"),
    case("events", "a quote that never closes", CSV_HEAD + CSV + CSV.replace(b"550", b'"550') + CSV * 3, 4,
         "quotes do not match"),
    case("events", "a quoted field with text behind it", CSV_HEAD + CSV.replace(b"550 no", b'"550" no') + CSV, 1,
         "quotes do not match"),
    case("events", "too few and too many fields", CSV_HEAD + b"bounced,2026-03-02\n" + CSV + CSV[:-1] + b",x,y\n", 1,
         "2 fields where the header has 5", "7 fields where the header has 5"),
    case("events", "a header alone", CSV_HEAD),
    case("events", "a header that names a column twice", b"event_type," + CSV_HEAD + b"x," + CSV, 0, FOREIGN + "the CSV header"),
    case("events", "a header of 200,000 characters", lambda: CSV_HEAD[:-1] + b"," + b"x" * 200_000 + b"\n"
         + CSV[:-1] + b",1\n", 1, message="unknown columns passed over"),
    case("events", "codes and counts that are none", b"".join(line(event(**each)) for each in (
        {"smtp_code": "5xx"}, {"smtp_code": "-550"}, {"attempt_number": "9" * 12}, {"attempt_number": "0"},
        {"event_type": "Bounced"}, {"recipient": ""})), 0, "smtp_code is not", "smtp_code is not",
        "attempt_number is no", "attempt_number is no", "unknown event_type 'Bounced'", "no recipient"),
    case("events", "Parquet of odd types", lambda: parquet({
        "event_type": ["bounced"] * 3, "event_at": pa.array([1772445600.5, float("nan"), float("inf")]),
        "recipient": ["ann@example.org"] * 3, "response_text": pa.array([[1], [2], None], pa.list_(pa.int64()))}), 0,
        FOREIGN),
    case("events", "Parquet of other times", lambda: parquet({
        "event_type": ["bounced"] * 3, "event_at": pa.array([1772445600.5, float("nan"), float("inf")]),
        "recipient": ["ann@example.org"] * 3}), 1, "no event_at", "time more than a day"),
    case("events", "Parquet cut in half", lambda: half(parquet({
        "event_type": ["bounced"], "event_at": ["2026-03-02"], "recipient": ["a@b.example"]})), 0,
        FOREIGN + "a Parquet file that cannot be read"),
    case("powermta", "quotes that do not match", PMTA_HEAD + PMTA + PMTA.replace(b"550 no", b'55"0') + PMTA, 2,
         "quotes do not match"),
    case("powermta", "a header in the middle, with other columns", PMTA_HEAD + PMTA + b"type,rcpt,timeLogged\n"
         b"d,bob@example.org,2026-03-02 10:00:00+0000\n" + PMTA, 2, "6 fields where the header has 3"),
    case("powermta", "no header", PMTA * 3, 0, FOREIGN + "its first line is no header"),
    case("powermta", "a row of an unknown type", PMTA_HEAD + PMTA + b"z" + PMTA[1:], 1, "unknown record type 'z'"),
    case("powermta", "no recipient", PMTA_HEAD + PMTA.replace(b"ann@example.org", b""), 0, "no rcpt"),
]  # fmt: skip

LOGS = [
    case("postfix", "a line cut at the end of the file", POSTFIX + POSTFIX[:-20], 1, "line not finished"),
    case("postfix", "stack traces between lines", POSTFIX + b"Traceback (most recent call last):\n  File x\n" + POSTFIX, 2,
         "not a syslog line", "not a syslog line"),
    case("postfix", "lines of other daemons", b"Mar  2 10:00:01 mx1 cron[1]: (root) CMD (x)\n" + POSTFIX, 1, ignored=1),
    case("exim", "a line cut at the end of the file", EXIM + EXIM[:-20], 1, "line not finished"),
    case("exim", "continuation lines", EXIM + b"    H=mx.example.org\n" + EXIM, 2, "not a line of mainlog"),
    case("postfix", "a syslog line of nothing", b"Mar  2 10:00:01 mx1 \n" + POSTFIX, 1, ignored=1),
]  # fmt: skip


def nested(depth: int) -> bytes:
    """A report inside so many multiparts."""
    inner = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n" \
        b"Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"  # fmt: skip
    for level in range(depth):
        mark = b"=_%d" % level
        inner = b'Content-Type: multipart/mixed; boundary="%s"\n\n--%s\n%s\n--%s--\n' % (mark, mark, inner, mark)
    return mails.mail("Subject: failure\n", "x").split(b"\n\n")[0] + b"\n" + inner


MAIL = [
    case("dsn", "multiparts 6 deep", lambda: nested(6), 1),
    case("dsn", "multiparts 500 deep", lambda: nested(500), ignored=1),
    case("dsn", "a boundary that never comes", lambda: mails.POSTFIX.replace(b"\n--=_b1", b"\n--other"), 1),
    case("dsn", "no end of the last part", lambda: mails.POSTFIX.replace(b"--=_b1--", b""), 1),
    case("dsn", "an empty boundary", lambda: mails.POSTFIX.replace(b'boundary="=_b1"', b'boundary=""'), 1),
    case("dsn", "base64 that is none", lambda: mails.POSTFIX.replace(
        b"Content-Type: message/delivery-status\n", b"Content-Type: message/delivery-status\n"
        b"Content-Transfer-Encoding: base64\n"), ignored=1),
    case("dsn", "an unknown charset and encoding", lambda: mails.POSTFIX.replace(
        b"Content-Type: text/plain\n", b'Content-Type: text/plain; charset="x\xff"\nContent-Transfer-Encoding: uuencode\n'), 1),
    case("dsn", "encoded words that do not decode", lambda: mails.POSTFIX.replace(
        b"Undelivered Mail", b"=?x-none?q?=ZZ?= =?utf-8?b?!!!?= =?utf-16?q?a?="), 1),
    case("dsn", "a From line in the middle of a body", lambda: mails.mbox(mails.POSTFIX.replace(
        b"see below", b"see below\nFrom here on 10:00 it went wrong")), 1),
    case("dsn", "a mailbox of nothing but From lines", b"From a@b Mon Mar  2 10:00:00 2026\n" * 50, 0,
         FOREIGN + "neither a mail nor"),
    case("dsn", "HTML sent as a log", b"<html><body>502 Bad Gateway</body></html>", 0, FOREIGN + "neither a mail nor"),
    case("dsn", "a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), 0, FOREIGN + "a PNG image"),
    case("dsn", "headers alone", b"From: a@b.example\nSubject: x\n", ignored=1),
    case("dsn", "a status part of garbage", lambda: mails.multipart(("message/delivery-status", "\x00\x01: x\n::\n\n:\n")),
         ignored=1),
    case("dsn", "an action and a status that nobody knows", lambda: mails.multipart(("message/delivery-status", mails.status(
        "Reporting-MTA: dns; mx", "Final-Recipient: rfc822; ann@example.org\nAction: teleported\nStatus: 9.9.9"))), ignored=1),
]  # fmt: skip


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


CASES = [*COMPRESSED, *ENCODINGS, *LARGE, *JSON, *TIMES, *TABLES, *LOGS, *MAIL]
