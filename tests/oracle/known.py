"""Histories that once told the oracle something else than the warehouse, and what of them came late."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.oracle.histories import REPLIES, Address, History, Kind, Message, Report, Source, Step, rename
from tests.oracle.writers import Expiry, Record, write

UNKNOWN, BLOCKED, GREYLISTED, FULL = REPLIES[:4]
ADA = Address("ada", "h0000a.example", "h0000a.example")
DAY = datetime(2026, 3, 2, 8)


def message(name: str, source: Source, *steps: tuple[Kind, float, Any], **more: Any) -> Message:
    """A message to Ada; steps are kind, hours after it began, and reply."""
    begun_at = more.pop("begun_at", DAY)
    return Message(
        **{
            "name": f"h0000{name}", "source": source, "recipients": (ADA,), "begun_at": begun_at, "has_injection": False, "is_known": True,
            "has_attempts": source == "kumomta", "campaign": "h0000-spring", "from_domain": "h0000news.example", "sending_ip": None,
            "sender": f"{name}@bounce.h0000news.example",
            "steps": tuple(
                Step(kind, 0, begun_at + timedelta(hours=hours), reply, number if source == "kumomta" else None)
                for number, (kind, hours, reply) in enumerate(steps, 1)
            ),
            "queue_id": "B0000Z1FFFFF", "ends_at": None, "is_expired": False, **more,
        }
    )  # fmt: skip


def report(of: Message, hours: float, names: Any, **more: Any) -> Report:
    at = DAY + timedelta(hours=hours)
    return Report(
        **{
            "name": "h0000r0",
            "kind": "failed",
            "by": "dsn",
            "names": names,
            "message": of,
            "recipient": ADA,
            "at": at,
            "reply": UNKNOWN,
            **more,
        }
    )


REFUSED = message("m1", "postfix", ("bounced", 0, BLOCKED), ends_at=DAY + timedelta(seconds=1))
UNNAMED = message("m1", "events", ("deferred", 0, GREYLISTED), is_known=False, sender="shared@bounce.h0000news.example")
LATER = message(
    "m2", "kumomta", ("delivered", 0, GREYLISTED), sender="shared@bounce.h0000news.example", begun_at=DAY + timedelta(hours=9),
)  # fmt: skip
HISTORIES = [
    # the acceptance comes in a later file than the queue manager's word that the message expired
    History(0, (message("m1", "postfix", ("deferred", 0, FULL), ("delivered", 50, FULL), ends_at=DAY + timedelta(days=5), is_expired=True),), (), (), ()),
    # dropped after a deferral: a drop has no class, and does not borrow that of the deferral
    History(0, (message("m1", "events", ("deferred", 0, GREYLISTED), ("dropped", 1, BLOCKED)),), (), (), ()),
    # a notice of a refusal, days after it, decides nothing and suppresses nobody again
    History(0, (REFUSED,), (report(REFUSED, 60, "message_id"),), (), ()),
    # a report names a message that began later, and is joined by its return path to one that has no id
    History(0, (UNNAMED, LATER), (report(LATER, 3, "message_id"),), (), ()),
    # who gives up speaks for himself, whatever code he logs
    History(0, (message("m1", "kumomta", ("expired", 1, UNKNOWN)), message("m2", "kumomta", ("dropped", 1, UNKNOWN))), (), (), ()),
]  # fmt: skip


def known_histories(first: int) -> list[History]:
    """The histories, numbered from `first` on."""
    return [replace(rename(history, number), number=number) for number, history in enumerate(HISTORIES, first)]


def write_late(history: History) -> Iterator[tuple[Record, bool]]:
    """The records of a history, and which of them come in the last run only: whatever was accepted."""
    for record in write(history):
        yield record, any(not isinstance(means, Expiry) and means.event_type == "delivered" for means in record.entries)
