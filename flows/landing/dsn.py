"""Delivery reports (RFC 3464) and complaints (RFC 5965) from a bounce mailbox, also reports that are only prose.

One row a message and recipient that it speaks of; a message that reports nothing is one row too. Messages are read in
processes of their own, where there are enough of them.
"""

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import getaddresses
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

import pyarrow as pa

from flows.landing import mail, report_text
from flows.landing.lines import KEPT_BYTES, SCHEMA
from flows.landing.mail import Fields, Part
from flows.landing.source import Context, Source

FIELDS = (
    "report_type", "kind", "message_digest", "recipient", "report_message_id", "report_date", "report_from",
    "report_to", "subject", "auto_submitted", "in_reply_to", "failed_recipients", "reporting_mta",
    "original_envelope_id", "arrival_date", "final_recipient", "original_recipient", "action", "status",
    "remote_mta", "diagnostic_code", "last_attempt_date", "report_fields", "recipient_fields", "text_reply",
    "text_origin", "text_status", "text_mta", "original_message_id", "original_from", "original_to",
    "original_return_path", "original_subject", "original_campaign", "original_headers", "feedback_type",
    "user_agent", "source_ip", "event_at", "reported_at", "arrived_at", "last_attempt_at",
)  # fmt: skip

TRANSPORT_FIELDS = re.compile(
    rb"(?:received|x-received|delivered-to|return-path|x-original-to|envelope-to|delivery-date|status|x-status|x-uid|x-uidl"
    rb"|x-imapbase|x-keywords|x-mozilla-[\w-]+|x-apparently-to|x-gmail-[\w-]+|lines|content-length|received-spf"
    rb"|authentication-results|arc-[\w-]+|x-spam-[\w-]+|x-virus-[\w-]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.IGNORECASE,
)
"""Header fields that the way into a mailbox added: two copies of one report differ in them."""
FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")

MAIL_FIELDS = {
    "from", "to", "cc", "subject", "date", "message-id", "received", "return-path", "delivered-to", "mime-version",
    "content-type", "reply-to", "sender",
}  # fmt: skip
"""A text whose first lines merely look like header fields has none of these."""

STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
FEEDBACK_TYPE = "message/feedback-report"
ORIGINAL_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")

ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")

CAMPAIGN_FIELDS = (
    "x-campaign", "x-campaign-id", "x-campaignid", "x-campaign-name", "x-job", "x-job-id", "x-jobid", "x-mailing-id",
)  # fmt: skip

# RFC 6591 and "not spam" (RFC 6430) are reports of another kind in the same form.
NO_COMPLAINT = ("auth-failure", "not-spam")

MAILER = re.compile(
    r"mailer[-_ ]?daemon|postmaster|mail[- ]?(?:er )?(?:delivery|daemon|system|failure|router)"
    r"|delivery[- ](?:sub)?system|mdaemon|bounce",
    re.IGNORECASE,
)
AUTOMATIC = re.compile(
    r"out[- ]of[- ](?:the )?office|automatic reply|auto(?:matic)?[- ]?(?:reply|respon)|vacation|on holiday|away from"
    r"|abwesenheit|absence du bureau|r\u00e9ponse automatique|respuesta autom\u00e1tica|risposta automatica|fuori sede",
    re.IGNORECASE,
)

ADDRESS = re.compile(rf"({report_text.ADDRESS})")
INLINE_STATUS = re.compile(r"(?im)^(?:final|original)-recipient[ \t]*:")
INLINE_GROUP = re.compile(r"(?im)^(?:reporting-mta|final-recipient|original-recipient|action|arrival-date)[ \t]*:")
TYPED = re.compile(r"^\s*([\w-]+)\s*;\s*(.*)$", re.DOTALL)

STATUS_LIMIT_BYTES = 4 << 20
RECIPIENT_LIMIT = 5000
ROOM_CHARACTERS = 8 << 20
"""For all rows of a message together: each row repeats what is said of the message."""

JSON_CHARACTERS = 32 << 10
JSON_FIELDS = ("report_fields", "recipient_fields", "original_headers")

CHUNK_MESSAGES = 256
CHUNK_BYTES = 4 << 20
FEW_CHUNKS = 4
"""So many chunks are read here: to start processes takes longer."""

EARLIEST = "2000"
BATCH_SCHEMA = pa.schema([*SCHEMA, *((name, pa.string()) for name in FIELDS)])

Record = dict[str, str | None]
Numbered = tuple[int, bytes, bool]
"""A message's number, its bytes, and whether the end of the file has cut it."""


class NoMail(Exception):  # noqa: N818 - the name says what was found
    """The text is no mail, or not all of one; the message says why."""


@dataclass
class Report:
    """What a message says, gathered part by part."""

    fields: Fields
    report_type: str = "none"
    status: Fields = field(default_factory=Fields)
    recipients: list[Fields] = field(default_factory=list)
    feedback: Fields | None = None
    original: Fields = field(default_factory=Fields)
    texts: list[Part] = field(default_factory=list)
    prose: report_text.Prose | None = None


def judge(context: Context) -> str:
    """The judgement was made when the message was read; see `judge_record`."""
    return """
    judged as (
        select *, flaw as reject_reason
        from lines
    )"""


SOURCE = Source(name="dsn", form="mail", fields=FIELDS, judge=judge)


def digest_message(raw: bytes) -> str:
    """The digest of a message without what its way into a mailbox added, nor blank lines at its end."""
    header, body = mail.cut_header(raw)
    header, rest = header[: mail.HEADER_LIMIT_BYTES], header[mail.HEADER_LIMIT_BYTES :]
    kept = b"".join(match[0] for match in FIELD.finditer(header + b"\n") if not TRANSPORT_FIELDS.match(match[0]))
    return hashlib.sha256(b"\n".join((kept.rstrip(), rest, body.rstrip()))).hexdigest()


def read_message(raw: bytes, latest: str) -> list[Record]:
    """The rows of one message, at least one; `NoMail` where it is none. `latest` is as for `judge_record`."""
    text = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").lstrip(b"\n\r\t ")
    envelope = b""
    if text.startswith((b"From ", b">From ")):
        envelope, _, text = text.partition(b"\n")
        text = mail.unquote_from(text).lstrip(b"\n")
    root = mail.read_part(text)
    if not root.fields.pairs:
        raise NoMail("no mail: it does not begin with header fields")
    if not MAIL_FIELDS & root.fields.first.keys():
        raise NoMail("no mail: none of its header fields is one that mails have")
    report = read_report(root)
    found = read_recipients(report)
    if len(found) > RECIPIENT_LIMIT:
        raise NoMail(f"speaks of more than {RECIPIENT_LIMIT} recipients, as no mailer's report does")
    room = ROOM_CHARACTERS // len(found) // 4
    common = describe(report, digest_message(text), room)
    fallback = find_arrival(root.fields, envelope)
    rows: list[Record] = [
        {name: value if name in JSON_FIELDS else value and value[:room] for name, value in (common | row).items()}
        for row in found
    ]
    for row in rows:
        add_times(row, fallback, latest)
    return rows


def read_report(root: Part, depth: int = 0) -> Report:
    """Gather the parts of a message; of one that only carries a report (forwarded whole) those of the report."""
    report = Report(root.fields)
    inner: Part | None = None
    originals = 0
    for leaf in mail.leaves(root):
        if leaf.content_type in STATUS_TYPES:
            report.report_type = "delivery-status"
            add_status(report, mail.decode_body(leaf, STATUS_LIMIT_BYTES))
        elif leaf.content_type == FEEDBACK_TYPE:
            report.report_type = "feedback-report"
            report.feedback = mail.read_fields(mail.decode_body(leaf).lstrip())
        elif leaf.content_type in ORIGINAL_TYPES:
            originals += 1
            if originals == 1:
                report.original = read_original(leaf)
                inner = leaf
        elif leaf.content_type.startswith("text/") and leaf.content_type != "text/rfc822-headers":
            report.texts.append(leaf)
    if report.report_type != "none":
        return report
    carried = report.original.get("content-type") or ""
    if inner and depth < 2 and root.report_type is None and "multipart/report" in carried.lower():
        return read_report(mail.read_part(decoded_original(inner)), depth + 1)
    plain = [part for part in report.texts if part.content_type != "text/html"] or report.texts
    text = "\n".join(mail.decode_text(part) for part in plain[:4])
    if INLINE_STATUS.search(text):
        # the boundary is missing or was not kept, so that the parts are one text
        add_inline_status(report, text)
    elif is_failure(root):
        read_text(report, text)
        if not report.prose or not report.prose.failures:
            htmls = [part for part in report.texts if part.content_type == "text/html"]
            if htmls and plain is not htmls:
                read_text(report, "\n".join(mail.decode_text(part) for part in htmls[:2]))
    if report.prose and report.prose.failures:
        report.report_type = "text"
    return report


def decoded_original(part: Part) -> bytes:
    """A returned message; most come as they are."""
    encoding = (part.fields.get("content-transfer-encoding") or "").lower()
    return (mail.decode_body(part, 8 << 20) if encoding.startswith(("base64", "quoted")) else part.body).lstrip(b"\n")


def read_original(part: Part) -> Fields:
    """The header of a returned message."""
    return read_loose_header(decoded_original(part)[: mail.HEADER_LIMIT_BYTES])


def read_loose_header(content: bytes) -> Fields:
    """A header that may have a `From ` line, or blanks, before it."""
    content = content.lstrip(b"\n")
    if content.startswith((b"From ", b">From ")):
        content = content.partition(b"\n")[2]
    return mail.read_fields(mail.cut_header(content)[0])


def add_status(report: Report, content: bytes) -> None:
    """Add the groups of fields of a `message/delivery-status` (RFC 3464, 2.1), told apart by what they hold."""
    for group in re.split(rb"\n[ \t]*\n", content.replace(b"\r\n", b"\n").strip(b"\n")):
        fields = mail.read_fields(group.strip(b"\n") + b"\n")
        if not fields.pairs:
            continue
        if not {"final-recipient", "original-recipient", "action"} & fields.first.keys():
            if not report.recipients and not report.status.pairs:
                report.status = fields
            continue
        # Some leave out the blank line between groups.
        current: Fields | None = None
        for name, value in fields.pairs:
            if name in ("reporting-mta", "arrival-date", "original-envelope-id", "received-from-mta", "dsn-gateway"):
                report.status.pairs.append((name, value))
                report.status.first.setdefault(name, value)
                continue
            if current is None or (name == "final-recipient" and name in current.first):
                current = Fields()
                report.recipients.append(current)
            current.pairs.append((name, value))
            current.first.setdefault(name, value)


def add_inline_status(report: Report, text: str) -> None:
    """Add the groups of fields of a report whose parts run together, and the returned message's header behind them."""
    groups = re.split(r"\n[ \t]*\n", text)
    last = 0
    for number, group in enumerate(groups):
        if begin := INLINE_GROUP.search(group):
            add_status(report, group[begin.start() :].encode("utf-8", "replace"))
            last = number
    if report.recipients:
        report.report_type = "delivery-status"
    for group in groups[last + 1 : last + 4]:
        fields = mail.read_fields(group.encode("utf-8", "replace"))
        if not report.original.pairs and {"from", "message-id", "received"} & fields.first.keys():
            report.original = fields


def is_failure(root: Part) -> bool:
    """Whether a message without a machine-readable part may be a report: by who wrote it and what it is called."""
    fields = root.fields
    if fields.get("x-failed-recipients") or root.report_type == "delivery-status":
        return True
    if AUTOMATIC.search(fields.get("subject") or ""):
        return False
    is_mailer = bool(MAILER.search(fields.get("from") or "")) or fields.get("return-path") == "<>"
    subject = mail.decode_words(fields.get("subject")) or ""
    return is_mailer and (bool(report_text.FAILED.search(subject)) or not fields.get("auto-submitted", "in-reply-to"))


def read_text(report: Report, text: str) -> None:
    """Read the prose of a report, and the header of the returned message below it."""
    failed = ADDRESS.findall(" ".join(report.fields.all("x-failed-recipients")))
    subject = mail.decode_words(report.fields.get("subject")) or ""
    report.prose = report_text.read_prose(text, subject, failed)
    if report.prose.returned and not report.original.pairs:
        lines = report.prose.returned.strip("\n").split("\n")[:400]
        report.original = read_loose_header(
            "\n".join(line.rstrip() for line in lines).lstrip().encode("utf-8", "replace")
        )


def as_json(pairs: list[tuple[str, str]], room: int = JSON_CHARACTERS) -> str | None:
    """Fields as a JSON array of `{name, value}`, in order, as many as there is room for; names are in lower case."""
    kept = []
    for name, value in pairs:
        room -= len(name) + len(value) + 30
        if room < 0:
            break
        kept.append({"name": name, "value": value})
    return json.dumps(kept, ensure_ascii=False) if kept else None


def find_campaign(original: Fields) -> str | None:
    """The campaign that senders' own fields name; of a Feedback-ID (`campaign:customer:type:sender`) the first part."""
    feedback_id = (original.get("feedback-id") or "").split(":")[0].strip()
    return original.get(*CAMPAIGN_FIELDS) or feedback_id or None


def describe(report: Report, digest: str, room: int) -> Record:
    """What is the same in all rows of a message, in so many characters a field."""
    fields, status, original = report.fields, report.status, report.original
    feedback = report.feedback or Fields()
    return dict.fromkeys(FIELDS) | {
        "report_type": report.report_type,
        "message_digest": digest,
        "report_message_id": fields.get("message-id"),
        "report_date": fields.get("date"),
        "report_from": fields.get("from"),
        "report_to": fields.get("to"),
        "subject": mail.decode_words(fields.get("subject")),
        "auto_submitted": fields.get("auto-submitted"),
        "in_reply_to": fields.get("in-reply-to"),
        "failed_recipients": ", ".join(fields.all("x-failed-recipients")) or None,
        "reporting_mta": status.get("reporting-mta") or feedback.get("reporting-mta"),
        "original_envelope_id": status.get("original-envelope-id") or feedback.get("original-envelope-id"),
        "arrival_date": status.get("arrival-date") or feedback.get("arrival-date", "received-date"),
        "report_fields": as_json(status.pairs or feedback.pairs, min(room, JSON_CHARACTERS) // 2),
        "original_message_id": original.get("message-id"),
        "original_from": original.get("from"),
        "original_to": original.get("to"),
        "original_return_path": original.get("return-path") or feedback.get("original-mail-from"),
        "original_subject": mail.decode_words(original.get("subject")),
        "original_campaign": find_campaign(original),
        "original_headers": as_json(
            [pair for pair in original.pairs if pair[0] != "received"], min(room, JSON_CHARACTERS) // 2
        ),
        "feedback_type": (feedback.get("feedback-type") or "").lower() or None,
        "user_agent": feedback.get("user-agent"),
        "source_ip": feedback.get("source-ip"),
    }


def read_recipients(report: Report) -> list[Record]:
    """The rows of a report by recipient, or the one row of a message that reports nothing."""
    if report.feedback is not None:
        kind = "other" if (report.feedback.get("feedback-type") or "").lower() in NO_COMPLAINT else "complaint"
        complainants: list[str | None] = [*find_complainants(report)]
        return [{"kind": kind, "recipient": address} for address in complainants or [None]]
    if report.recipients:
        return read_blocks(report)
    if report.prose and report.prose.failures:
        action = "delayed" if report.prose.is_delay else "failed"
        return [
            describe_failure(each)
            | {"kind": "delay" if report.prose.is_delay else "bounce", "recipient": each.recipient, "action": action}
            for each in report.prose.failures
        ]
    return [{"kind": "bounce" if report.report_type != "none" else find_kind(report.fields)}]


def find_kind(fields: Fields) -> str:
    """`auto_reply` or `other`, for a message that reports nothing: by RFC 3834, older ones by words of their own."""
    is_automatic = (
        (fields.get("auto-submitted") or "").lower().startswith("auto-replied")
        or fields.get("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response-suppress-reply")
        or "auto_reply" in (fields.get("precedence") or "").lower()
        or AUTOMATIC.search(mail.decode_words(fields.get("subject")) or "")
    )
    return "auto_reply" if is_automatic else "other"


def describe_failure(failure: report_text.Failure) -> Record:
    """What prose says of one recipient."""
    enhanced = report_text.ENHANCED.search(failure.reply or "")
    return {
        "text_reply": failure.reply,
        "text_origin": None if failure.reply is None else "remote" if failure.is_remote else "local",
        "text_status": enhanced[1] if enhanced else None,
        "text_mta": failure.host,
    }


def find_complainants(report: Report) -> list[str]:
    """Who complains; by the returned message only where that went to one address, and one that is not hidden."""
    assert report.feedback is not None
    named = report.feedback.all("original-rcpt-to") or report.feedback.all("removal-recipient")
    found = [address[1] for value in named if (address := re.search(rf"<?({report_text.ADDRESS})>?", value))]
    if not found:
        hidden = {value.strip("@ ").lower() for value in report.feedback.all("redacted-address")} | {"redacted"}
        for name in ("x-hmxmroriginalrecipient", "x-rcpt-to", "to"):
            addresses = [each for _, each in getaddresses([report.original.get(name) or ""]) if "@" in each]
            if len(addresses) == 1 and addresses[0].rpartition("@")[0].lower() not in hidden:
                found = addresses
                break
    return list(dict.fromkeys(found))


def typed_address(value: str | None) -> str | None:
    """The address in `type; address` (RFC 3464, 2.1.3), where it is one of the Internet's."""
    typed = TYPED.match(value or "")
    address = ADDRESS.search(typed[2] if typed else value or "")
    return address[1] if address and "/" not in (typed[2] if typed else value or "")[:1] else None


def read_blocks(report: Report) -> list[Record]:
    """The rows of the groups of recipients; prose supplies the replies of those that have no Diagnostic-Code."""
    rows: list[Record] = []
    failed = ADDRESS.findall(" ".join(report.fields.all("x-failed-recipients")))
    for block in report.recipients:
        # The sender knows the address that the message was sent to, not the one it was passed on to.
        recipient = typed_address(block.get("original-recipient")) or typed_address(block.get("final-recipient"))
        if not recipient and len(report.recipients) == 1 and len(failed) == 1:
            recipient = failed[0]
        action = re.split(r"[\s(;]", (block.get("action") or "").strip().lower())[0] or None
        if action not in ACTIONS:
            action = {"5": "failed", "4": "delayed", "2": "delivered"}.get((block.get("status") or " ")[0], action)
        rows.append(
            {
                "kind": {"failed": "bounce", "delayed": "delay"}.get(action or "", "other"),
                "recipient": recipient,
                "final_recipient": block.get("final-recipient"),
                "original_recipient": block.get("original-recipient"),
                "action": action,
                "status": block.get("status"),
                "remote_mta": block.get("remote-mta"),
                "diagnostic_code": block.get("diagnostic-code"),
                "last_attempt_date": block.get("last-attempt-date"),
                "recipient_fields": as_json(block.pairs, JSON_CHARACTERS),
            }
        )
    lacking = [row for row in rows if row["kind"] in ("bounce", "delay") and not row["diagnostic_code"]]
    if lacking:
        supply_replies(report, lacking, is_alone=len(rows) == 1)
    return rows


def supply_replies(report: Report, rows: list[Record], *, is_alone: bool) -> None:
    """Give rows that have no Diagnostic-Code what the prose says of their recipients."""
    plain = [part for part in report.texts if part.content_type != "text/html"] or report.texts
    text = "\n".join(mail.decode_text(part) for part in plain[:4])
    text = text[: match.start()] if (match := re.search(r"(?im)^reporting-mta[ \t]*:", text)) else text
    failed = ADDRESS.findall(" ".join(report.fields.all("x-failed-recipients")))
    prose = report_text.read_prose(text, "", failed)
    by_address = {failure.recipient.lower(): failure for failure in prose.failures}
    for row in rows:
        names = [typed_address(row.get(name)) or "" for name in ("final_recipient", "original_recipient", "recipient")]
        found = next((by_address[name.lower()] for name in names if name.lower() in by_address), None)
        if found is None and is_alone and len(prose.failures) == 1:
            found = prose.failures[0]
        if found:
            row |= describe_failure(found)


def find_arrival(fields: Fields, envelope: bytes) -> datetime | None:
    """When the mailbox got a message that has no date: the last Received, or the `From ` line."""
    received = fields.get("received") or ""
    if date := mail.parse_date(received.rpartition(";")[2].strip() or None):
        return date
    match = re.search(rb"((?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} +\d[^\n]*)$", envelope.strip())
    return mail.parse_date(match[1].decode("ascii", "replace")) if match else None


def add_times(row: Record, fallback: datetime | None, latest: str) -> None:
    """The dates of a row in ISO 8601 and UTC, and that of its event: the most exact that a working clock wrote."""
    times = {
        "last_attempt_at": mail.parse_date(row.get("last_attempt_date")),
        "reported_at": mail.parse_date(row.get("report_date")),
        "arrived_at": mail.parse_date(row.get("arrival_date")),
    }
    for name, time in times.items():
        row[name] = iso(time)
    candidates = [found for time in (*times.values(), fallback) if (found := iso(time))]
    row["event_at"] = next((time for time in candidates if EARLIEST <= time <= latest), next(iter(candidates), None))


def iso(time: datetime | None) -> str | None:
    """A time in UTC as ISO 8601, which sorts as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time and time.year >= 1000 else None


def judge_record(row: Record, latest: str) -> str | None:
    """Why a row cannot land; `latest` is the last time, in ISO 8601, that a working clock could have written.

    What is no event (an answer, spam that strayed in) needs no date, and loses one that cannot be.
    """
    time = row["event_at"]
    flaw = None
    if time is None:
        flaw = "no date: neither Date, Last-Attempt-Date, Arrival-Date nor Received says when"
    elif time < EARLIEST:
        flaw = f"time before 2000: {time}"
    elif time > latest:
        flaw = f"time more than a day after landing: {time}"
    if flaw and (not row["recipient"] or (row["kind"] == "other" and row["action"] not in ACTIONS)):
        row["event_at"] = None
        return None
    return flaw


def read_chunk(messages: list[Numbered], latest: str) -> pa.RecordBatch:
    """The batch of some messages. Whatever is wrong with one stays with it: it becomes a record with a flaw."""
    records: list[tuple[int, int, str | None, bytes | None, Record]] = []
    for number, raw, is_cut in messages:
        try:
            if is_cut:
                raise NoMail("message not finished: the file ends inside it")
            rows = read_message(raw, latest)
        except NoMail as error:
            records.append((number, 1, str(error), raw[:KEPT_BYTES], {}))
            continue
        except Exception as error:  # a hole in the reader must cost one message, and say so, not the mailbox
            flaw = f"cannot be read as mail: {type(error).__name__}: {str(error)[:200]}"
            records.append((number, 1, flaw, raw[:KEPT_BYTES], {}))
            continue
        for part, row in enumerate(rows, 1):
            flaw_of_row = judge_record(row, latest)
            records.append((number, part, flaw_of_row, raw[:KEPT_BYTES] if flaw_of_row else None, row))
    columns: list[pa.Array[Any]] = [
        pa.array([record[0] for record in records], pa.int64()),
        pa.array([record[1] for record in records], pa.int32()),
        pa.nulls(len(records), pa.string()),
        pa.array([record[2] for record in records], pa.string()),
        pa.array([record[3] for record in records], pa.binary()),
        *(pa.array([storable(record[4].get(name)) for record in records], pa.string()) for name in FIELDS),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=BATCH_SCHEMA)


def storable(value: str | None) -> str | None:
    """A text without NUL or lone surrogates."""
    return value if value is None or (value.isascii() and "\0" not in value) else mail.readable(value)


class Mailbox:
    """The messages of files as batches; the second time only those of which a record was rejected."""

    def __init__(self, context: Context, threads: int | None) -> None:
        self.latest = (context.landed_at + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.processes = threads or len(os.sched_getaffinity(0))
        self.flawed: set[int] | None = None

    def batches(self, files: Iterable[tuple[int, Iterable[bytes], bool]]) -> Iterator[pa.RecordBatch]:
        """Batches of `BATCH_SCHEMA`, in the order of the files; each comes with the number before its first.

        The flag is of files that were cut: an address in the last message may lack its last letters, and be another's.
        """
        flawed: set[int] = set()
        chunks = self.chunks(files)
        first = list(islice(chunks, FEW_CHUNKS + 1))
        if len(first) <= FEW_CHUNKS or self.processes < 2:
            found: Iterator[pa.RecordBatch] = (read_chunk(chunk, self.latest) for chunk in chain(first, chunks))
        else:
            found = read_in_processes(chain(first, chunks), self.latest, self.processes)
        for batch in found:
            rejected = batch.filter(batch["flaw"].is_valid())
            flawed.update(number.as_py() for number in rejected["record_number"])
            yield batch
        if self.flawed is None:
            self.flawed = flawed

    def chunks(self, files: Iterable[tuple[int, Iterable[bytes], bool]]) -> Iterator[list[Numbered]]:
        """Numbered messages, some hundred at a time."""
        chunk: list[Numbered] = []
        size = 0
        for before, blocks, is_cut in files:
            for number, (message, is_last) in enumerate(mark_last(mail.cut_messages(blocks)), before + 1):
                if self.flawed is not None and number not in self.flawed:
                    continue
                chunk.append((number, message, is_cut and is_last))
                size += len(message)
                if len(chunk) == CHUNK_MESSAGES or size > CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
        if chunk:
            yield chunk


def mark_last(messages: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each message, and whether it is the last."""
    held: bytes | None = None
    for message in messages:
        if held is not None:
            yield held, False
        held = message
    if held is not None:
        yield held, True


def end_with_parent() -> None:
    """Make a process of the pool end when the one that began it is killed: it would wait for work for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=watch, name="watch-parent", daemon=True).start()


def read_in_processes(chunks: Iterable[list[Numbered]], latest: str, processes: int) -> Iterator[pa.RecordBatch]:
    """The batches of the chunks, in order, read by so many processes; should one be killed, the rest is read here."""
    waiting: deque[tuple[list[Numbered], Future[pa.RecordBatch]]] = deque()
    # Threads of the flow and of DuckDB are at work in this process, so that it must not be forked.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)

    def result() -> pa.RecordBatch:
        chunk, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            return read_chunk(chunk, latest)

    try:
        for chunk in chunks:
            try:
                waiting.append((chunk, pool.submit(read_chunk, chunk, latest)))
            except BrokenProcessPool:
                while waiting:
                    yield result()
                yield read_chunk(chunk, latest)
            if len(waiting) > 2 * processes:
                yield result()
        while waiting:
            yield result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
