"""The two lists through a whole run: what providers tell of people's requests, what administrators decide, rebuilds."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.settings import Settings
from tests import marts
from tests.conftest import run_all

pytestmark = pytest.mark.xdist_group("two_lists")

DAY = "2026-03-02"


def sendgrid(event: str, email: str, at: str = f"{DAY}T08:00:00+00:00", **more: Any) -> dict[str, Any]:
    moment = int(datetime.fromisoformat(at).timestamp())
    return {"email": email, "timestamp": moment, "event": event, "sg_event_id": f"{event}{email}{at}", **more}


def bounce(email: str, at: str, reply: str = "550 5.1.1 No such user") -> dict[str, Any]:
    message = f"m{email}{at}.filter1"
    return sendgrid(
        "bounce", email, at, reason=reply, status="5.1.1", ip="192.0.2.1", type="bounce", sg_message_id=message
    )


REQUESTS: dict[str, list[dict[str, Any]]] = {
    "sendgrid": [
        sendgrid("unsubscribe", "All@Gone.example"),
        sendgrid("group_unsubscribe", "group@stays.example", asm_group_id=7),
        sendgrid("spamreport", "angry@gone.example", sg_message_id="m1.filter1"),
        bounce("bob@b.example", f"{DAY}T08:00:00+00:00"),
    ],
    "mailgun": [
        {"event": "unsubscribed", "id": "u1", "timestamp": 1772438400.5, "recipient": "mg@gone.example"},
    ],
    "sparkpost": [
        {
            "msys": {
                "unsubscribe_event": {
                    "type": kind, "event_id": kind, "timestamp": "1772438400", "rcpt_to": f"{kind}@gone.example",
                }
            }
        }
        for kind in ("list_unsubscribe", "link_unsubscribe")
    ],
    "postmark": [
        {
            "RecordType": "SubscriptionChange", "MessageID": message, "Recipient": recipient, "ChangedAt": at,
            "SuppressSending": suppress, "SuppressionReason": reason,
        }
        for message, recipient, at, suppress, reason in [
            ("p1", "pm@gone.example", f"{DAY}T08:00:00Z", True, "ManualSuppression"),
            ("p2", "back@stays.example", f"{DAY}T08:00:00Z", True, "ManualSuppression"),
            ("p3", "back@stays.example", f"{DAY}T09:00:00Z", False, None),
            ("p4", "bounced@stays.example", f"{DAY}T08:00:00Z", True, "HardBounce"),
        ]
    ],
    "ses": [
        {
            "eventType": "Subscription",
            "mail": {"messageId": f"s{before}{after}", "timestamp": f"{DAY}T08:00:00Z", "destination": [recipient]},
            "subscription": {
                "contactList": "all", "timestamp": f"{DAY}T08:00:00Z", "source": "UnsubscribeHeader",
                "oldTopicPreferences": {"unsubscribeAll": before}, "newTopicPreferences": {"unsubscribeAll": after},
            },
        }
        for before, after, recipient in [
            (False, True, "ses@gone.example"), (False, False, "topics@stays.example"), (True, False, "again@stays.example"),
        ]
    ],
}  # fmt: skip


def write_inbox(home: Path, records: dict[str, list[dict[str, Any]]], name: str = "day.jsonl") -> None:
    for source, lines in records.items():
        folder = home / "inbox" / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_actions(home: Path, *actions: dict[str, Any]) -> None:
    """Actions, an hour apart from 10:00 of the day after."""
    (home / "actions").mkdir(exist_ok=True)
    begin = datetime.fromisoformat(DAY).replace(tzinfo=UTC) + timedelta(days=1, hours=10)
    with (home / "actions" / "2026-03.jsonl").open("a") as file:
        for number, action in enumerate(actions):
            at = (begin + timedelta(hours=number)).isoformat()
            whole = {"action_id": json.dumps(action), "at": at, "by": "eve", "reason": "asked", **action}
            file.write(json.dumps(whole) + "\n")


def listed(home: Path, mart: str = "dim_suppressed_addresses") -> list[str]:
    return [row[0] for row in marts.read(home / "bouncehouse.duckdb", f"select address from marts.{mart} order by 1")]


def test_requests_of_recipients_make_the_users_own_list(tmp_path: Path) -> None:
    write_inbox(tmp_path, REQUESTS)
    write_inbox(tmp_path, REQUESTS, "redelivered.jsonl")
    write_actions(
        tmp_path,
        {"action": "import", "list": "global", "address": "crm@gone.example", "origin": "CRM"},
        {"action": "add", "list": "global", "address": "by-letter@gone.example"},
        {"action": "remove", "list": "global", "address": "mg@gone.example"},
        {"action": "remove", "address": "all@gone.example"},
    )
    run_all(Settings(home=tmp_path, threads=1))
    assert listed(tmp_path, "dim_global_suppressed_addresses") == [
        "all@gone.example", "angry@gone.example", "by-letter@gone.example", "crm@gone.example",
        "link_unsubscribe@gone.example", "list_unsubscribe@gone.example", "pm@gone.example", "ses@gone.example",
    ]  # fmt: skip
    assert listed(tmp_path) == ["bob@b.example"]
    database = tmp_path / "bouncehouse.duckdb"
    assert marts.read(
        database,
        "select address, occurred_at::varchar, action, acted_by from marts.fct_global_suppression_events"
        " where address in ('mg@gone.example', 'back@stays.example') order by all",
    ) == [
        ("back@stays.example", "2026-03-02 08:00:00", "added", "bouncehouse"),
        ("back@stays.example", "2026-03-02 09:00:00", "removed", "bouncehouse"),
        ("mg@gone.example", "2026-03-02 08:00:00.5", "added", "bouncehouse"),
        ("mg@gone.example", "2026-03-03 12:00:00", "removed", "eve"),
    ]
    # the list at a past moment
    past = "select address from marts.globally_suppressed_at('2026-03-02 08:30:00') order by all"
    assert ("back@stays.example",) in marts.read(database, past)
    assert marts.read(database, "select address from marts.suppressed_at(timestamp '2026-03-02 07:59:59')") == []


@pytest.mark.long
def test_recovered_stays_recovered(tmp_path: Path) -> None:
    """A wave of false refusals is recovered; its late reports and a rebuild change nothing, a later bounce does."""
    settings = Settings(home=tmp_path, threads=1)
    wave = [bounce(f"u{number}@wave.example", f"{DAY}T08:1{number}:00+00:00") for number in range(3)]
    earlier = bounce("u0@wave.example", "2026-03-01T08:00:00+00:00")
    write_inbox(tmp_path, {"sendgrid": [*wave, earlier, bounce("bob@b.example", f"{DAY}T08:05:00+00:00")]})
    run_all(settings)
    assert len(listed(tmp_path)) == 4
    recovery = {
        "action": "recover", "from": f"{DAY}T08:00:00Z", "until": f"{DAY}T09:00:00Z", "margin_hours": 72,
        "recipient_domain": "wave.example", "pattern": "no such user", "reason": "false 550s, says their status page",
    }  # fmt: skip
    write_actions(tmp_path, recovery)
    late = sendgrid(
        "bounce", "u7@wave.example", f"{DAY}T20:00:00+00:00", reason="550 5.1.1 No such user", status="5.1.1"
    )
    later = bounce("u1@wave.example", "2026-03-05T08:00:00+00:00")
    write_inbox(tmp_path, {"sendgrid": [late, later]}, "late.jsonl")
    run_all(settings)
    # u0 bounced before the wave too
    assert listed(tmp_path) == ["bob@b.example", "u0@wave.example", "u1@wave.example"]
    ledger = marts.read(tmp_path / "bouncehouse.duckdb", "from marts.fct_suppression_events order by all")
    reverted = sorted(row[1] for row in ledger if row[4] == "reverted")
    assert reverted == ["u1@wave.example", "u2@wave.example", "u7@wave.example"]
    # built again from landing, with an option that counts without a new file: what bounced on the 1st is expired when
    # the data has come to the 5th (bob's three days end five minutes after the last event)
    (tmp_path / "work.duckdb").unlink()
    run_all(Settings(home=tmp_path, threads=1, suppression_expiry_days=3))
    rebuilt = marts.read(tmp_path / "bouncehouse.duckdb", "from marts.fct_suppression_events order by all")
    assert [row for row in rebuilt if row[4] != "expired"] == ledger
    assert [(row[1], str(row[3])) for row in rebuilt if row[4] == "expired"] == [
        ("u0@wave.example", "2026-03-04 08:00:00")
    ]
    assert listed(tmp_path) == ["bob@b.example", "u1@wave.example"]
