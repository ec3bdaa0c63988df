"""Records in the shape of each vendor's, for tests to vary."""

import json
from typing import Any


def kumo(**changes: Any) -> str:
    record = {
        "type": "Delivery",
        "id": "4e10",
        "sender": "bounce@news.example.com",
        "recipient": "ann@example.org",
        "queue": "spring:shop@example.org",
        "size": 2048,
        "response": {"code": 250, "enhanced_code": None, "content": "ok", "command": "."},
        "timestamp": 1772445600,
        "created": 1772445590,
        "num_attempts": 0,
    } | changes
    return json.dumps({key: value for key, value in record.items() if value is not ...}, ensure_ascii=False)


def ses_event(kind: str = "Delivery", **changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "eventType": kind,
        "mail": {"timestamp": "2026-03-02T10:00:00.000Z", "messageId": "m-1", "destination": ["ann@example.org"]},
        "delivery": {
            "timestamp": "2026-03-02T10:00:01.000Z",
            "recipients": ["ann@example.org"],
            "smtpResponse": "250 ok",
        },
    }
    return record | changes


def sns(message: str, **changes: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:bounces",
        "Message": message,
        "Timestamp": "2026-03-02T10:00:02.000Z",
    } | changes


STATUS_LINE = (
    "Mar  2 10:00:01 mx1 postfix/smtp[811]: 3F2A1B0C: to=<ann@example.org>, relay=mx.example.org[192.0.2.9]:25,"
    " delay=0.3, delays=0.1/0/0.1/0.1, dsn=5.1.1, status=bounced (host mx.example.org[192.0.2.9] said: 550 5.1.1"
    " no such user (in reply to RCPT TO command))"
)
