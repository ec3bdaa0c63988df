"""Exim: lines of mainlog, and what they become."""

import itertools
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .staged import land, rejects, stage, staged

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "exim"

SHORT = "1tAbCd-0009RI-2d"
LONG = "1tAbCd-000000009RI-2dXy"
MX = "H=mx1.a.example [192.0.2.1]"
AFTER_RCPT = "SMTP error from remote mail server after RCPT TO:<bob@a.example>:"

PERSONAS: list[tuple[str, list[dict[str, Any]]]] = [
    (  # an arrival names its recipients only with +received_recipients, after a subject that may say anything
        '<= bounce@brand.example H=app (app) [10.0.0.5]:4711 P=esmtp S=900 id=m1@brand.example T="offers "for x@y.example"" '
        "from <bounce@brand.example> for Ada@a.example bob@a.example",
        [
            {"event_type": "injected", "recipient": "ada@a.example", "envelope_sender": "bounce@brand.example",
             "message_id": "m1@brand.example", "is_attempt": False, "mx_ip": None},
            {"event_type": "injected", "recipient": "bob@a.example"},
        ],
    ),
    (
        '<= bounce@brand.example U=app P=local S=900 T="news" for x@y.example"',
        [{"event_type": None, "native_event_type": "<= (no recipient)"}],
    ),
    (
        '=> Ada@a.example F=<bounce@brand.example> R=dnslookup T=remote_smtp H=MX1.a.example [192.0.2.1]* I=[198.51.100.7]:41000 '
        'X=TLS1.3:X:256 CV=yes C="250 2.0.0 Ok: queued as \\"4C\\"" QT=2s DT=1.2s',
        [{"event_type": "delivered", "recipient": "ada@a.example", "is_attempt": True, "mx_host": "mx1.a.example",
          "mx_ip": "192.0.2.1", "sending_ip": "198.51.100.7", "smtp_code": 250, "enhanced_code": "2.0.0",
          "response_origin": "remote", "envelope_sender": "bounce@brand.example", "message_id": SHORT}],
    ),
    (f"-> cy@a.example R=dnslookup T=remote_smtp {MX} C=\"250 ok\"", [{"event_type": "delivered", "smtp_code": 250}]),
    (f">> di@a.example R=dnslookup T=remote_smtp {MX} C=\"250 ok\"", [{"event_type": "delivered"}]),
    (f"*> di@a.example R=dnslookup T=remote_smtp {MX}", [{"event_type": None, "native_event_type": "*>"}]),
    ("=> ed <ed@b.example> R=localuser T=local_delivery",
     [{"event_type": "delivered", "recipient": "ed@b.example", "is_attempt": True, "response_origin": "local"}]),
    ("=> :blackhole: <flo@b.example> R=system_aliases",
     [{"event_type": "delivered", "recipient": "flo@b.example", "is_attempt": False, "response_origin": "local"}]),
    ("=> |/usr/bin/filter --to a@b <gil@b.example> R=x T=address_pipe", [{"event_type": "delivered", "recipient": "gil@b.example"}]),
    (
        f"== bob@a.example R=dnslookup T=remote_smtp defer (-44): {AFTER_RCPT} host mx1.a.example [192.0.2.1]: "
        "450 4.3.2 try later",
        [{"event_type": "deferred", "is_attempt": True, "mx_host": "mx1.a.example", "mx_ip": "192.0.2.1", "smtp_code": 450,
          "enhanced_code": "4.3.2", "response_text": "450 4.3.2 try later", "response_origin": "remote"}],
    ),
    (
        "== bob@a.example R=dnslookup T=remote_smtp defer (-45) H=mx2.a.example (h) [2001:db8::1]:25 X=T:256 DT=1s: "
        "SMTP error from remote mail server after pipelined MAIL FROM:<b@brand.example> SIZE=9: "
        "421-4.7.0 too fast\\n421 4.7.0 slow down",
        [{"event_type": "deferred", "mx_host": "mx2.a.example", "mx_ip": "2001:db8::1", "smtp_code": 421,
          "enhanced_code": "4.7.0", "response_text": "421-4.7.0 too fast 421 4.7.0 slow down"}],
    ),
    (
        "== bob@a.example R=dnslookup T=remote_smtp defer (110): Connection timed out",
        [{"event_type": "deferred", "is_attempt": True, "response_origin": "local", "smtp_code": None,
          "response_text": "Connection timed out"}],
    ),
    ("== bob@a.example R=q T=remote_smtp defer (-1): domain matches queue_smtp_domains, or -odqs set",
     [{"event_type": "deferred", "is_attempt": False}]),
    ("== bob@a.example R=q T=remote_smtp defer (-53): retry time not reached for any host",
     [{"event_type": "deferred", "is_attempt": False}]),
    (
        f"** bob@a.example R=dnslookup T=remote_smtp {MX} X=TLS1.2:E:128 CV=yes: {AFTER_RCPT} 550 5.1.1 <bob@a.example>: unknown",
        [{"event_type": "bounced", "is_attempt": True, "smtp_code": 550, "enhanced_code": "5.1.1",
          "response_text": "550 5.1.1 <bob@a.example>: unknown", "response_origin": "remote", "mx_host": "mx1.a.example"}],
    ),
    ("** eve@nowhere.example: Unrouteable address",
     [{"event_type": "bounced", "response_text": "Unrouteable address", "response_origin": "local", "mx_host": None}]),
    ("** bob@a.example: retry timeout exceeded",
     [{"event_type": "expired", "is_attempt": False, "response_origin": "local"}]),
    (
        f"** bob@a.example R=dnslookup T=remote_smtp {MX}: {AFTER_RCPT} 452 4.2.2 full: retry timeout exceeded",
        [{"event_type": "expired", "smtp_code": 452, "response_text": "452 4.2.2 full"}],
    ),
    ("Completed", [{"event_type": None, "native_event_type": "Completed"}]),
    (f"{MX}: {AFTER_RCPT} 451 earlier host", [{"event_type": None, "native_event_type": "about a message"}]),
]  # fmt: skip


def log(*messages: str, at: str = "2026-07-02 12:00:00", exim_id: str = SHORT) -> bytes:
    return "".join(f"{at} {exim_id} {message}\n" for message in messages).encode()


@pytest.mark.parametrize("exim_id", [SHORT, LONG])
def test_every_line_becomes_its_events(tmp_path: Path, exim_id: str) -> None:
    rows = staged(tmp_path, "exim", {"mainlog": log(*(line for line, _ in PERSONAS), exim_id=exim_id)})
    expected = [each for _, events in PERSONAS for each in events]
    for found, wanted in zip(rows, expected, strict=True):
        wanted = wanted | ({"message_id": exim_id} if wanted.get("message_id") == SHORT else {})
        assert {name: found[name] for name in wanted} == wanted
    assert len({each["event_id"] for each in rows}) == len(rows)
    assert len({each["message_group_id"] for each in rows}) == 1


@pytest.mark.parametrize(
    ("at", "utc"),
    [
        ("2026-07-02 12:00:00", datetime(2026, 7, 2, 10)),
        ("2026-07-02 12:00:00.123", datetime(2026, 7, 2, 10, 0, 0, 123000)),
        ("2026-07-02 12:00:00 -0330", datetime(2026, 7, 2, 15, 30)),
        ("2026-07-02 12:00:00.5 +0200 [77]", datetime(2026, 7, 2, 10, 0, 0, 500000)),
        ("2026-01-02 12:00:00 [77]", datetime(2026, 1, 2, 11)),
    ],
)
def test_times(tmp_path: Path, at: str, utc: datetime) -> None:
    variables = {"sources": {"exim": {"time_zone": "Europe/Berlin"}}}
    (found,) = staged(tmp_path, "exim", {"mainlog": log("** a@b.example: no", at=at)}, variables)
    assert (found["event_at"], found["recipient"]) == (utc, "a@b.example")


def test_sending_ip_is_that_of_the_folder(tmp_path: Path) -> None:
    variables = {"sources": {"exim": {"sending_ips": {"mx1": "198.51.100.1"}}}}
    files = {f"{host}/mainlog": log(f'=> a@b.example R=d T=r {MX} C="250 {host}"') for host in ("mx1", "mx2")}
    assert [each["sending_ip"] for each in staged(tmp_path, "exim", files, variables)] == ["198.51.100.1", None]


def test_other_lines_are_no_events_and_foreign_ones_are_rejected(tmp_path: Path) -> None:
    good = "2026-07-02 12:00:00 H=(x) [192.0.2.9] F=<a@b.example> rejected RCPT <c@d.example>: relay not permitted\n"
    good += "2026-07-02 12:00:00 [5] exim 4.97 daemon started\n"
    bad = "no time here\n2026-02-30 12:00:00 x\n1999-07-02 12:00:00 x\n"
    rows = staged(tmp_path, "exim", {"mainlog": (good + bad).encode(), "other": b"{}\n"})
    assert [(each["event_type"], each["native_event_type"]) for each in rows] == [(None, "about no message")] * 2
    reasons = {reason.split(":")[0] for _, _, reason in rejects(tmp_path, "exim")}
    assert reasons == {"not a line of mainlog", "no such time", "time before 2000", "a file of another kind"}


@pytest.mark.parametrize(
    ("line", "is_landed"),
    [
        (f'=> a@b.example R=d T=r {MX} C="250 ok"', True),
        (f'=> a@b.example R=d T=r {MX} C="250 ok" QT=1m2s DT=0.1s', True),
        (f'=> a@b.example R=d T=r {MX} C="250 o', False),
        ("** a@b.example: no such us", False),
        ("Completed", True),
    ],
)
def test_last_line_without_newline(tmp_path: Path, line: str, is_landed: bool) -> None:
    rows = staged(tmp_path, "exim", {"mainlog": log("== z@b.example defer (1): x", line)[:-1]})
    assert len(rows) == 1 + is_landed


def test_any_split_and_repetition_gives_the_same_events(tmp_path: Path) -> None:
    lines = log(*(line for line, _ in PERSONAS)).splitlines(keepends=True)
    whole = {each["event_id"] for each in staged(tmp_path / "whole", "exim", {"mainlog": b"".join(lines)})}
    cuts = sorted(random.Random(3).sample(range(1, len(lines)), 5))
    edges = [0, *cuts, len(lines)]
    files = {f"mainlog.{i}": b"".join(lines[a:b]) for i, (a, b) in enumerate(itertools.pairwise(edges))}
    files["copy/mainlog.1"] = b"".join(lines[2:9])
    parts = staged(tmp_path / "parts", "exim", files)
    assert {each["event_id"] for each in parts} == whole
    assert len(parts) == len(whole) + 7


def test_public_samples_are_accounted_for(tmp_path: Path) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the samples of public logs are not here")
    inbox = tmp_path / "inbox" / "exim"
    inbox.mkdir(parents=True)
    for path in SAMPLES.iterdir():
        (inbox / path.name).write_bytes(path.read_bytes())
    loads = land(tmp_path)
    assert sum(load.records_landed for load in loads) == 5
    rows = stage(tmp_path, "exim", loads)
    assert [each["event_type"] for each in rows].count("injected") == 3
    assert [each["event_type"] for each in rows].count("bounced") == 1
    assert [reason for _, _, reason in rejects(tmp_path, "exim")] == ["time before 2000: 1995-10-31 08:57:53+00"]
