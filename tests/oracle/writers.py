"""Small writers: a history in the logs' formats, and beside each record what it says in the canonical event's words.

What a log leaves out is what docs/sources.md says it lacks.
"""

import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests.oracle.histories import SILENCE, Action, Address, History, Message, OptOut, Reply, Report, Step

SENDING_IPS = {"mx1": "192.0.2.11", "mx2": "192.0.2.12"}
"""Postfix logs none: what `sources.yml` says of its hosts."""

EXPIRED = Reply(
    "551",
    "5.4.7",
    "Next delivery time exceeds the expiry time",
    "551 5.4.7 Next delivery time exceeds the expiry time",
    "expired",
    False,
)


@dataclass(frozen=True)
class Entry:
    """What one record of a log says of one recipient. `thread` is what the record alone says of which message it means."""

    source: str
    thread: Hashable
    message_id: str | None
    event_type: str
    at: datetime
    recipient: str
    is_attempt: bool
    attempt: int | None
    sender: str | None
    from_domain: str | None
    campaign: str | None
    sending_ip: str | None
    reply: Reply | None
    native_class: str | None = None


@dataclass(frozen=True)
class Expiry:
    """Postfix's queue manager gave up: true of every recipient of the message that is still deferred."""

    thread: Hashable
    at: datetime


@dataclass(frozen=True)
class Record:
    """A record of `source` and the entries that it means (none where it is a kind that is no event)."""

    source: str
    content: object
    entries: tuple[Entry | Expiry, ...]


def write(history: History) -> Iterator[Record]:
    for message in history.messages:
        yield from WRITERS[message.source](message)
    for report in history.reports:
        yield (write_dsn if report.by == "dsn" else write_kumomta_report)(report)
    for action in history.actions:
        yield write_action(action)
    for number, opt_out in enumerate(history.opt_outs):
        yield write_opt_out(opt_out, number)


def spell(address: Address, number: int) -> str:
    return address.spellings[number % len(address.spellings)]


def said(reply: Reply, address: Address) -> str:
    return reply.words.replace("{recipient}", f"{address.local}@{address.ascii_domain}")


def whole(reply: Reply, address: Address) -> str:
    return " ".join(part for part in (reply.code, reply.enhanced, said(reply, address)) if part)


def is_failure(kind: str) -> bool:
    return kind in ("deferred", "bounced", "expired", "dropped", "out_of_band_bounce")


def entry(message: Message, step: Step | None, place: int, **says: object) -> Entry:
    """What a record says that leaves nothing out; `says` replaces what this log has otherwise."""
    values: dict[str, object] = {
        "source": message.source,
        "thread": message.name,
        "message_id": message.name,
        "event_type": step.kind if step else "injected",
        "at": step.at if step else message.begun_at,
        "recipient": spell(message.recipients[place], step.at.hour + step.at.minute if step else 0),
        "is_attempt": bool(step) and step.kind in ("deferred", "bounced", "delivered"),
        "attempt": step.attempt if step else None,
        "sender": message.sender,
        "from_domain": message.from_domain,
        "campaign": message.campaign,
        "sending_ip": message.sending_ip,
        "reply": step.reply if step and is_failure(step.kind) else None,
    }
    return Entry(**(values | says))  # type: ignore[arg-type]


def write_events(message: Message) -> Iterator[Record]:
    steps: list[tuple[int, Step | None]] = [(step.recipient, step) for step in message.steps]
    if message.has_injection:
        steps += [(place, None) for place in range(len(message.recipients))]
    for number, (place, step) in enumerate(steps):
        address = message.recipients[place]
        native_id = f"{message.name}e{number}" if number % 2 or not message.is_known else None
        reply = step.reply if step and is_failure(step.kind) else None
        if step and step.kind == "expired":
            reply = SILENCE
        means = entry(
            message, step, place, reply=reply,
            thread=message.name if message.is_known else native_id, message_id=message.name if message.is_known else None,
        )  # fmt: skip
        is_apart = number % 3 == 0  # codes in columns of their own
        fields = {
            "event_type": means.event_type,
            "event_at": stamp(means.at),
            "recipient": means.recipient,
            "message_id": means.message_id,
            "attempt_number": means.attempt,
            "envelope_sender": means.sender,
            "from_domain": means.from_domain,
            "campaign_id": means.campaign,
            "sending_ip": means.sending_ip,
            "smtp_code": reply.code if reply and is_apart else None,
            "enhanced_code": reply.enhanced if reply and is_apart else None,
            "response_text": (said if is_apart else whole)(reply, address) or None if reply else None,
            "response_origin": ("local" if means.event_type == "expired" else "remote") if reply else None,
            "native_event_id": native_id,
        }
        yield Record(
            "events", {name: None if value is None else str(value) for name, value in fields.items()}, (means,)
        )


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


KUMOMTA_TYPES = {
    "deferred": "TransientFailure", "bounced": "Bounce", "delivered": "Delivery", "expired": "Expiration",
    "dropped": "AdminBounce", "complaint": "Feedback", "out_of_band_bounce": "OOB",
}  # fmt: skip


def kumomta_reply(reply: Reply, address: Address) -> dict[str, object]:
    enhanced = (
        dict(zip(("class", "subject", "detail"), map(int, reply.enhanced.split(".")), strict=True))
        if reply.enhanced
        else None
    )
    return {
        "code": int(reply.code or 0),
        "enhanced_code": enhanced,
        "content": said(reply, address),
        "command": "RCPT TO",
    }


def write_kumomta(message: Message) -> Iterator[Record]:
    """Recipients of the same fate share a record; complaints come as receptions of their own, to the feedback loop."""
    base: dict[str, object] = {
        "id": message.name, "sender": message.sender, "nodeid": "n1",
        "queue": f"{message.campaign}:t@x.example" if message.campaign and message.begun_at.day % 2 else "t@x.example",
        "meta": {"campaign": message.campaign} if message.campaign and not message.begun_at.day % 2 else {},
        "headers": {"From": f"News <news@{message.from_domain}>"} if message.from_domain else {},
    }  # fmt: skip
    if message.has_injection:
        means = tuple(entry(message, None, place, sending_ip=None) for place in range(len(message.recipients)))
        yield kumomta_record(base | {"type": "Reception", "response": {"code": 250, "content": ""}}, means)
    fates: dict[tuple[object, ...], list[Step]] = defaultdict(list)
    for step in message.steps:
        shared = None if "{" in step.reply.words or step.kind == "complaint" else step.reply
        fates[step.kind, step.at, step.attempt, shared or (step.recipient, step.reply)].append(step)
    for number, steps in enumerate(fates.values()):
        step = steps[0]
        address = message.recipients[step.recipient]
        if step.kind == "complaint":
            yield kumomta_complaint(
                f"{message.name}f{number}", spell(address, number), step.at, entry(
                    message, step, step.recipient, thread=f"{message.name}f{number}", message_id=f"{message.name}f{number}",
                    recipient=spell(address, number), sender="fbl@x.example", from_domain=None, campaign=None, sending_ip=None,
                ),
            )  # fmt: skip
            continue
        reply = EXPIRED if step.kind == "expired" else step.reply
        answer = kumomta_reply(reply, address)
        if step.kind in ("expired", "dropped"):
            answer["command"] = None
        has_ip = message.sending_ip and step.kind in ("deferred", "bounced", "delivered")
        means = tuple(
            entry(
                message, each, each.recipient, sending_ip=message.sending_ip if has_ip else None,
                reply=Reply(None, reply.enhanced, reply.words, reply.masked, reply.reason, False)
                if step.kind in ("expired", "dropped") else reply if is_failure(step.kind) else None,
            )
            for each in steps
        )  # fmt: skip
        fields: dict[str, object] = {
            "type": KUMOMTA_TYPES[step.kind],
            "response": answer if is_failure(step.kind) else {"code": 250, "content": "OK", "command": "."},
            "num_attempts": (step.attempt or 1) - 1,
            "source_address": {"address": f"{message.sending_ip}:4000"} if has_ip else None,
        }
        yield kumomta_record(base | fields, means)


def kumomta_record(fields: dict[str, object], means: tuple[Entry, ...]) -> Record:
    spelled = [each.recipient for each in means]
    at = means[0].at.replace(tzinfo=UTC)
    fields = {
        "recipient": spelled[0] if len(spelled) == 1 else spelled, "timestamp": int(at.timestamp()), "num_attempts": 0, **fields,
    }  # fmt: skip
    return Record("kumomta", json.dumps(fields, ensure_ascii=False), means)


def kumomta_complaint(name: str, spelled: str, at: datetime, means: Entry) -> Record:
    fields = {
        "type": "Feedback", "id": name, "nodeid": "n1", "sender": "fbl@x.example", "recipient": "fbl@us.example", "queue": "us.example",
        "timestamp": int(at.replace(tzinfo=UTC).timestamp()), "num_attempts": 0, "response": {"code": 250, "content": ""},
        "feedback_report": {"original_rcpt_to": [spelled]},
    }  # fmt: skip
    return Record("kumomta", json.dumps(fields, ensure_ascii=False), (means,))


def write_kumomta_report(report: Report) -> Record:
    """An OOB record has the id of the report that came in, and as its sender where that was sent to."""
    sender = report.message.sender if report.names == "return_path" else "somebody@x.example"
    spelled = spell(report.recipient, report.at.minute)
    is_complaint = report.kind == "complaint"
    means = Entry(
        "kumomta", report.name, report.name, "complaint" if is_complaint else "out_of_band_bounce", report.at, spelled, False, None,
        "fbl@x.example" if is_complaint else sender, None, None, None, None if is_complaint else report.reply,
    )  # fmt: skip
    if is_complaint:
        return kumomta_complaint(report.name, spelled, report.at, means)
    fields = {
        "type": "OOB", "id": report.name, "nodeid": "n1", "sender": sender, "queue": "us.example",
        "response": kumomta_reply(report.reply, report.recipient),
    }  # fmt: skip
    return kumomta_record(fields, (means,))


def write_postfix(message: Message) -> Iterator[Record]:
    """Facts of the queue id stand in lines of their own; the last says that it is removed."""
    host = "mx2" if message.sending_ip == "192.0.2.12" else "mx1"
    message_id = f"{message.name}@mail.example"
    thread = (host, message.queue_id, message.name)

    def line(at: datetime, process: str, text: str, *means: Entry | Expiry) -> Record:
        moment = at.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00")
        return Record("postfix", f"{moment} {host} postfix/{process}[7]: {message.queue_id}: {text}", means)

    yield line(message.begun_at, "cleanup", f"message-id=<{message_id}>")
    yield line(
        message.begun_at, "qmgr", f"from=<{message.sender}>, size=900, nrcpt={len(message.recipients)} (queue active)"
    )
    for name, value in [
        ("X-Campaign", message.campaign),
        ("From", message.from_domain and f"News <news@{message.from_domain}>"),
    ]:
        if value:
            text = f"info: header {name}: {value} from app.example[192.0.2.80]; from=<{message.sender}> to=<x@y.example> proto=ESMTP"
            yield line(message.begun_at, "cleanup", text)
    for step in message.steps:
        address = message.recipients[step.recipient]
        means = entry(
            message, step, step.recipient, thread=thread, message_id=message_id, sending_ip=SENDING_IPS[host],
            recipient=spell(address, step.at.hour),
        )  # fmt: skip
        where = f"mx.{address.ascii_domain}[192.0.2.99]"
        status, text = {
            "delivered": ("sent", "250 2.0.0 Ok: queued as 4XYZ"),
            "deferred": ("deferred", f"host {where} said: {whole(step.reply, address)} (in reply to RCPT TO command)"),
            "bounced": ("bounced", f"host {where} said: {whole(step.reply, address)} (in reply to RCPT TO command)"),
        }[step.kind]
        start = (
            f"to=<{means.recipient}>, relay={where}:25, delay=1, delays=0/0/0/1, dsn={step.reply.enhanced or '4.0.0'}"
        )
        yield line(step.at, "smtp", f"{start}, status={status} ({text})", means)
    assert message.ends_at is not None
    if message.is_expired:
        yield line(
            message.ends_at,
            "qmgr",
            f"from=<{message.sender}>, status=expired, returned to sender",
            Expiry(thread, message.ends_at),
        )
    yield line(message.ends_at, "qmgr", "removed")


def write_ses(message: Message) -> Iterator[Record]:
    """Recipients that SES speaks of one by one; the sending IP stands on deliveries only."""
    tags = {"campaign": [message.campaign]} if message.campaign else {}
    if message.from_domain:
        tags["ses:from-domain"] = [message.from_domain]
    mail: dict[str, object] = {
        "messageId": message.name, "timestamp": stamp(message.begun_at), "source": f"News <{message.sender}>", "tags": tags,
        "destination": [spell(address, 0) for address in message.recipients],
    }  # fmt: skip
    if message.has_injection:
        means = tuple(entry(message, None, place, sending_ip=None) for place in range(len(message.recipients)))
        yield Record("ses", {"eventType": "Send", "mail": mail, "send": {}}, means)
    for number, step in enumerate(message.steps):
        address = message.recipients[step.recipient]
        means_one = entry(message, step, step.recipient, sending_ip=None)
        text = whole(step.reply, address)
        recipient: dict[str, object] = {"emailAddress": f"Somebody <{means_one.recipient}>"}
        failed = recipient | {"status": step.reply.enhanced, "diagnosticCode": f"smtp; {text}"}
        own_mail = mail
        if step.kind == "delivered":
            has_ip = message.sending_ip is not None
            own_mail = mail | {"tags": tags | ({"ses:outgoing-ip": [message.sending_ip]} if has_ip else {})}
            body: dict[str, object] = {
                "eventType": "Delivery",
                "delivery": {
                    "timestamp": stamp(step.at),
                    "recipients": [means_one.recipient],
                    "smtpResponse": "250 2.0.0 OK",
                },
            }
            means_one = entry(message, step, step.recipient)
        elif step.kind == "deferred":
            body = {
                "eventType": "DeliveryDelay",
                "deliveryDelay": {"timestamp": stamp(step.at), "delayedRecipients": [failed]},
            }
        elif step.kind == "complaint":
            body = {
                "eventType": "Complaint",
                "complaint": {
                    "timestamp": stamp(step.at),
                    "complainedRecipients": [recipient],
                    "feedbackId": f"{message.name}f{number}",
                },
            }
        else:
            sub_type = "OnAccountSuppressionList" if step.kind == "dropped" else "General"
            if step.kind == "expired":
                failed = recipient | {
                    "status": "4.4.7",
                    "diagnosticCode": "smtp; 554 4.4.7 Message expired: unable to deliver",
                }
                reply = Reply("554", "4.4.7", "", "554 4.4.7 Message expired: unable to deliver", "expired", False)
                means_one = entry(message, step, step.recipient, sending_ip=None, reply=reply)
            elif step.kind == "dropped":
                reply = Reply(None, step.reply.enhanced, "", step.reply.masked, "suppressed", False)
                means_one = entry(message, step, step.recipient, sending_ip=None, reply=reply)
            body = {
                "eventType": "Bounce",
                "bounce": {
                    "bounceType": "Permanent", "bounceSubType": sub_type, "bouncedRecipients": [failed],
                    "timestamp": stamp(step.at), "feedbackId": f"{message.name}b{number}",
                },
            }  # fmt: skip
        yield Record("ses", {**body, "mail": own_mail}, (means_one,))


def write_sendgrid(message: Message) -> Iterator[Record]:
    """No envelope sender; a bounce out of band names neither the message by SendGrid's id nor a sending IP."""
    base = {"sg_message_id": f"{message.name}.filter0001.17.1"}
    for name, value in [("campaign", message.campaign), ("from_domain", message.from_domain)]:
        if value:
            base[name] = value
    if message.has_injection:
        for place in range(len(message.recipients)):
            means = entry(message, None, place, sender=None, sending_ip=None)
            yield sendgrid_record(base | {"event": "processed"}, means, f"{message.name}i{place}")
    for number, step in enumerate(message.steps):
        address = message.recipients[step.recipient]
        text = whole(step.reply, address)
        fields = dict(base)
        has_ip = step.kind in ("deferred", "delivered", "bounced")
        means = entry(
            message,
            step,
            step.recipient,
            sender=None,
            sending_ip=(message.sending_ip or "192.0.2.13") if has_ip else None,
        )
        if has_ip:
            fields["ip"] = message.sending_ip or "192.0.2.13"
        if step.kind == "delivered":
            fields |= {"event": "delivered", "response": "250 OK"}
        elif step.kind == "deferred":
            fields |= {"event": "deferred", "response": text}
        elif step.kind == "complaint":
            fields |= {"event": "spamreport"}
        elif step.kind == "dropped":
            fields |= {"event": "dropped", "reason": text, "status": "5.0.0"}
            reply = step.reply
            means = entry(
                message, step, step.recipient, sender=None, sending_ip=None,
                reply=Reply(None, None, reply.words, reply.masked, reply.reason, False),
            )  # fmt: skip
        else:
            fields |= {"event": "bounce", "reason": text, "type": "expired" if step.kind == "expired" else "bounce"}
            if step.kind == "out_of_band_bounce":
                # known by the Message-ID that SendGrid made of its own id
                del fields["sg_message_id"]
                fields["smtp-id"] = f"<{message.name}@geopod-ismtpd-1>"
        yield sendgrid_record(fields, means, f"{message.name}s{number}")


def sendgrid_record(fields: dict[str, str], means: Entry, event_id: str) -> Record:
    at = int(means.at.replace(tzinfo=UTC).timestamp())
    return Record("sendgrid", {"email": means.recipient, "timestamp": at, "sg_event_id": event_id, **fields}, (means,))


def write_opt_out(opt_out: OptOut, number: int) -> Record:
    at = int(opt_out.at.replace(tzinfo=UTC).timestamp())
    fields = {
        "email": spell(opt_out.address, number + at),
        "timestamp": at,
        "event": "unsubscribe",
        "sg_event_id": f"u{at}",
    }
    return Record("sendgrid", fields, ())


def write_dsn(report: Report) -> Record:
    """A report by mail: on a failure or a delay (RFC 3464), or a complaint (RFC 5965)."""
    message, address = report.message, report.recipient
    spelled = f"{address.local.upper()}@{address.ascii_domain}"
    has_id = report.names == "message_id" and message.is_known
    message_id = None
    if has_id:
        message_id = f"{message.name}@mail.example" if message.source == "postfix" else message.name
    sender = message.sender if report.names != "nothing" else "somebody@x.example"
    has_campaign = message.campaign is not None and report.at.minute % 2 == 0
    date = format_datetime(report.at.replace(tzinfo=UTC))
    is_complaint = report.kind == "complaint"
    event_type = {"failed": "out_of_band_bounce", "delayed": "deferred", "complaint": "complaint"}[report.kind]
    means = Entry(
        "dsn", message_id or report.name, message_id, event_type, report.at, spelled, False, None, sender, None,
        message.campaign if has_campaign else None, None, None if is_complaint else report.reply,
    )  # fmt: skip
    if not is_complaint and not report.reply.enhanced and (report.reply.code or "5").startswith("5"):
        # the Status, where it does not contradict the reply
        means = replace(means, reply=replace(report.reply, enhanced="5.0.0"))
    original = f"Return-Path: <{sender}>\n" + (f"Message-ID: <{message_id}>\n" if message_id else "")
    original += (f"X-Campaign: {message.campaign}\n" if has_campaign else "") + "Subject: News\n"
    if is_complaint:
        said_of_it = f"Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\nOriginal-Rcpt-To: <{spelled}>\n"
        kind, part = "feedback-report", "message/feedback-report"
    else:
        reply = report.reply
        said_of_it = (
            f"Reporting-MTA: dns; mx1.example.net\n\nFinal-Recipient: rfc822; {spelled}\nAction: {report.kind}\n"
            f"Status: {reply.enhanced or '5.0.0'}\nDiagnostic-Code: smtp; {whole(reply, address)}\n"
        )
        kind, part = "delivery-status", "message/delivery-status"
    mail = (
        f"Return-Path: <>\nDate: {date}\nFrom: MAILER-DAEMON@mx1.example.net\nTo: {sender}\nMessage-Id: <{report.name}@mx1.example.net>\n"
        f'Subject: Report\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type={kind};\n\tboundary="=_b1"\n\n'
        f"--=_b1\nContent-Type: text/plain\n\nA report.\n--=_b1\nContent-Type: {part}\n\n{said_of_it}\n"
        f"--=_b1\nContent-Type: text/rfc822-headers\n\n{original}\n--=_b1--\n"
    )
    return Record("dsn", mail, (means,))


def write_action(action: Action) -> Record:
    fields: dict[str, object] = {
        "action_id": action.name, "action": action.action, "at": action.at.isoformat() + "Z", "by": "eve", "reason": f"why {action.name}",
    }  # fmt: skip
    if action.action == "recover":
        fields |= {"from": action.from_at.isoformat() + "Z", "until": action.until_at.isoformat() + "Z"}
        fields |= {
            "margin_hours": action.margin_hours, "recipient_domain": action.domain, "pattern": action.pattern,
            "bounce_reason": action.reason,
        }  # fmt: skip
    else:
        fields |= {"address": spell(action.address, action.at.day), "list": action.list_name}
    return Record(
        "actions",
        json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False),
        (),
    )


WRITERS: dict[str, Callable[[Message], Iterator[Record]]] = {
    "events": write_events, "kumomta": write_kumomta, "postfix": write_postfix, "ses": write_ses, "sendgrid": write_sendgrid,
}  # fmt: skip


def write_file(source: str, contents: Sequence[object], form: int) -> tuple[str, bytes]:
    """A file of these records in one of the source's forms, `form` choosing: the end of its name, and its bytes."""
    if source == "events":
        return write_table([content for content in contents if isinstance(content, dict)], form)
    if source in ("ses", "sendgrid"):
        lines = [json.dumps(content, ensure_ascii=False) for content in contents]
        if source == "ses" and form % 2:
            lines = [
                json.dumps(
                    {
                        "Type": "Notification",
                        "MessageId": f"{form}-{number}",
                        "TopicArn": "arn:aws:sns:x",
                        "Message": line,
                    }
                )
                for number, line in enumerate(lines)
            ]
        elif source == "sendgrid" and form % 2:
            lines = [f"[{','.join(lines[start : start + 3])}]" for start in range(0, len(lines), 3)]
        return ".jsonl.gz", gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    text = [str(content) for content in contents]
    if source == "dsn":
        if form % 2 and len(text) == 1:
            return ".eml", text[0].encode()
        return ".mbox", "".join(f"From x@y.example Mon Mar  2 12:00:00 2026\n{mail}\n" for mail in text).encode()
    content = "".join(f"{line}\n" for line in text).encode()
    return (".zst", zstandard.compress(content)) if source == "kumomta" and form % 2 else (".log", content)


def write_table(rows: Sequence[dict[str, str | None]], form: int) -> tuple[str, bytes]:
    if form % 3 == 0:
        lines = (
            json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
            for row in rows
        )
        return ".jsonl", "".join(f"{line}\n" for line in lines).encode()
    if form % 3 == 1:
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        return ".csv", text.getvalue().encode()
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), pa.schema([(name, pa.string()) for name in rows[0]])), sink)
    return ".parquet", sink.getvalue()
