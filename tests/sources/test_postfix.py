"""Postfix in depth: what the lines of an MTA with filters, instances and probes become."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.sources.staged import rejects, staged


def line(message: str, *, second: int = 0, tag: str = "postfix/smtp", host: str = "mta1") -> str:
    return f"2026-03-02T10:00:{second:02}+00:00 {host} {tag}[123]: {message}\n"


def events(folder: Path, *lines: str, variables: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return staged(folder, "postfix", {"maillog-20260302": "".join(lines).encode()}, variables)


REFUSED = (
    "9F1C2A00B1: to=<a@b.example>, relay=mx.b.example[192.0.2.9]:25, delay=1, delays=0/0/0/1, dsn=5.0.0, "
    "status=bounced (host mx.b.example[192.0.2.9] said: 550 No such user here (in reply to RCPT TO command))"
)


def test_a_refusal_has_the_words_and_codes_of_the_remote(tmp_path: Path) -> None:
    [row] = events(tmp_path, line(REFUSED))
    assert (row["event_type"], row["is_attempt"], row["smtp_code"]) == ("bounced", True, 550)
    assert row["enhanced_code"] is None  # dsn= is Postfix's own here
    assert row["native_class"] == "5.0.0"
    assert row["response_text"] == "550 No such user here"
    assert (row["mx_host"], row["mx_ip"]) == ("mx.b.example", "192.0.2.9")


@pytest.mark.parametrize(
    ("message", "event_type", "is_attempt", "native"),
    [
        # address probes of verify(8): no message was sent
        ("9F1C2A00B1: to=<a@b.example>, relay=mx.b.example[192.0.2.9]:25, delay=1, dsn=2.1.5, status=deliverable (250 ok)", None, False, "deliverable"),
        ("9F1C2A00B1: to=<a@b.example>, relay=mx.b.example[192.0.2.9]:25, delay=1, dsn=5.1.1, status=undeliverable (host mx.b.example[192.0.2.9] said: 550 no)", None, False, "undeliverable"),
        # the mail comes back under another id
        ("9F1C2A00B1: to=<a@b.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 8E2C2A00B2)", None, False, "sent (content filter)"),
        ("9F1C2A00B1: to=<a@b.example>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:10024: Connection refused)", None, False, "deferred (content filter)"),
        # an earlier MX was tried: the final word on the attempt is another line
        ("9F1C2A00B1: host mx1.b.example[192.0.2.8] said: 450 4.2.0 later (in reply to RCPT TO command)", None, False, "smtp"),
        # a destination that is not tried for a while
        ("9F1C2A00B1: to=<a@b.example>, relay=none, delay=1, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to mx.b.example[192.0.2.9]:25: Connection timed out)", "deferred", False, "deferred"),
        ("9F1C2A00B1: to=<a@b.example>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to mx.b.example[192.0.2.9]:25: Connection timed out)", "deferred", True, "deferred"),
        ("9F1C2A00B1: to=<a@b.example>, relay=mx.b.example[192.0.2.9]:25, delay=1, dsn=5.7.1, status=SOFTBOUNCE (host mx.b.example[192.0.2.9] said: 550 5.7.1 no (in reply to RCPT TO command))", "deferred", True, "SOFTBOUNCE"),
        # long ids, aliases, a reused connection
        ("3mPVKl0Mhjz7sXv: to=<a@b.example>, orig_to=<alias>, relay=mx.b.example[2001:db8::9]:25, conn_use=2, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 ok)", "delivered", True, "sent"),
        ("message repeated 3 times: [ " + REFUSED + "]", None, False, "message repeated"),
        ("statistics: max connection rate 1/60s", None, False, "smtp"),
    ],
)  # fmt: skip
def test_lines_that_are_and_are_no_events(
    tmp_path: Path, message: str, event_type: str | None, is_attempt: bool, native: str
) -> None:
    [row] = events(tmp_path, line(message))
    assert (row["event_type"], row["is_attempt"], row["native_event_type"]) == (event_type, is_attempt, native)


def test_words_of_a_suspended_destination_are_those_of_the_remote(tmp_path: Path) -> None:
    [row] = events(
        tmp_path,
        line(
            "9F1C2A00B1: to=<a@b.example>, relay=none, delay=1, dsn=4.7.0, status=deferred (delivery temporarily suspended: "
            "host mx.b.example[192.0.2.9] refused to talk to me: 421 4.7.0 Too many connections)",
            tag="postfix/error",
        ),
    )
    assert (row["smtp_code"], row["response_text"], row["is_attempt"]) == (421, "421 4.7.0 Too many connections", False)


def test_instances_and_hosts_have_sending_ips(tmp_path: Path) -> None:
    rows = events(
        tmp_path,
        line(REFUSED, second=1),
        line(REFUSED, second=2, tag="postfix-bulk/smtp"),
        line(REFUSED, second=3, host="mta2"),
        variables={"sources": {"postfix": {"sending_ips": {"mta1": "192.0.2.1", "mta1/postfix-bulk": "192.0.2.2"}}}},
    )
    assert [row["sending_ip"] for row in rows] == ["192.0.2.1", "192.0.2.2", None]


def test_years_are_inferred_over_new_years_eve(tmp_path: Path) -> None:
    lines = [
        f"{day} mta1 postfix/smtp[1]: {REFUSED}\n" for day in ("Dec 31 23:59:59", "Jan  1 00:00:01", "Jan 05 12:00:00")
    ]
    rows = staged(tmp_path, "postfix", {"maillog-20260105": "".join(lines).encode()})
    assert [row["event_at"] for row in rows] == [
        datetime(2025, 12, 31, 23, 59, 59), datetime(2026, 1, 1, 0, 0, 1), datetime(2026, 1, 5, 12)
    ]  # fmt: skip


def test_leap_day_is_found_years_back(tmp_path: Path) -> None:
    [row] = staged(
        tmp_path, "postfix", {"maillog-20260105": f"Feb 29 12:00:00 mta1 postfix/smtp[1]: {REFUSED}\n".encode()}
    )
    assert row["event_at"] == datetime(2024, 2, 29, 12)


def test_local_times_and_the_doubled_hour(tmp_path: Path) -> None:
    """Berlin put its clocks back at 03:00 on 2025-10-26: 02:30 was twice, and is read as the second, in standard time."""
    times = (
        "Oct 26 01:30:00",
        "Oct 26 02:30:00",
        "Oct 26 03:30:00",
        "2025 Oct 26 12:00:00.5",
        "2025-10-26T12:00:00",
        "2025-10-26T12:00:00+0100",
    )
    rows = staged(
        tmp_path,
        "postfix",
        {"maillog-20251026": "".join(f"{time} mta1 postfix/smtp[1]: {REFUSED}\n" for time in times).encode()},
        {"sources": {"postfix": {"time_zone": "Europe/Berlin"}}},
    )
    assert [row["event_at"] for row in rows] == [
        datetime(2025, 10, 25, 23, 30),
        datetime(2025, 10, 26, 1, 30),
        datetime(2025, 10, 26, 2, 30),
        datetime(2025, 10, 26, 11, 0, 0, 500000),
        datetime(2025, 10, 26, 11),
        datetime(2025, 10, 26, 11),
    ]


def test_a_line_twice_is_one_event_and_another_second_another(tmp_path: Path) -> None:
    rows = events(tmp_path, line(REFUSED), line(REFUSED), line(REFUSED, second=1))
    assert len({row["event_id"] for row in rows}) == 2
    assert rejects(tmp_path, "postfix") == []
