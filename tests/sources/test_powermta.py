"""PowerMTA: accounting rows in any order of columns, and what they become."""

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows.landing import accounting, lines, powermta

from .staged import land, rejects, stage, staged

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "powermta"

HEADER = (
    "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,"
    "dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,queue,header_X-Campaign,header_From"
)
AT = "2026-03-02 11:00:00+0100"


def row(kind: str, rcpt: str, **values: str) -> dict[str, str]:
    return {"type": kind, "timeLogged": AT, "timeQueued": AT, "orig": "bounce-1@brand.example", "rcpt": rcpt} | values


def sheet(*rows: dict[str, str], header: str = HEADER, end: str = "\r\n") -> bytes:
    """A file of rows, every value quoted where it must be."""

    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if set(value) & set(',"\r\n') else value

    body = [",".join(quoted(each.get(name, "")) for name in header.split(",")) for each in rows]
    return end.join([header, *body, ""]).encode()


CONNECTED = {
    "dlvType": "smtp",
    "dlvSourceIp": "198.51.100.7",
    "dlvDestinationIp": "192.0.2.9",
    "dsnMta": "MX.A.example. (192.0.2.9)",
}
UNCONNECTED = {"dlvSourceIp": "0.0.0.0"}

PERSONAS: list[tuple[dict[str, str], dict[str, Any]]] = [
    (  # taken at once; its job is the campaign, its From header names the brand
        row("d", "Ada@A.example", dsnStatus="2.0.0 (success)", dsnDiag="smtp;250 2.0.0 OK", jobId="spring",
            header_From="Brand <news@brand.example>", bounceCat="success", **CONNECTED),
        {"event_type": "delivered", "recipient": "ada@a.example", "is_attempt": True, "campaign_id": "spring",
         "from_domain": "brand.example", "sending_ip": "198.51.100.7", "mx_host": "mx.a.example", "mx_ip": "192.0.2.9",
         "smtp_code": 250, "enhanced_code": "2.0.0", "response_text": "250 2.0.0 OK", "response_origin": "remote",
         "event_at": datetime(2026, 3, 2, 10), "envelope_sender": "bounce-1@brand.example"},
    ),
    (  # the remote's own code is believed before PowerMTA's
        row("t", "bob@a.example", dsnStatus="4.0.0 (undefined status)", dsnDiag='smtp;452 4.2.2 "full", later', **CONNECTED),
        {"event_type": "deferred", "smtp_code": 452, "enhanced_code": "4.2.2", "response_text": '452 4.2.2 "full", later'},
    ),
    (
        row("b", "cleo@a.example", dsnStatus="5.1.1 (bad destination mailbox address)", dsnDiag="smtp;550 5.1.1 no such user",
            bounceCat="bad-mailbox", **CONNECTED),
        {"event_type": "bounced", "is_attempt": True, "native_class": "bad-mailbox", "smtp_code": 550},
    ),
    (  # too long in the queue
        row("b", "dora@a.example", dsnStatus="4.4.7 (delivery time expired)", bounceCat="message-expired", **UNCONNECTED),
        {"event_type": "expired", "is_attempt": False, "response_origin": "local", "sending_ip": None, "smtp_code": None,
         "enhanced_code": "4.4.7", "response_text": "4.4.7 (delivery time expired)"},
    ),
    (  # no such domain: searched for, and a bounce
        row("b", "eve@nowhere.example", dsnStatus="5.1.2 (bad destination system: no such domain)", bounceCat="bad-domain", **UNCONNECTED),
        {"event_type": "bounced", "response_origin": "local", "enhanced_code": "5.1.2", "mx_host": None},
    ),
    (  # deleted from the queue by hand
        row("b", "finn@a.example", dsnStatus="5.0.0 (undefined status)", dsnDiag="x-pmta;bounce-queue", bounceCat="other", **UNCONNECTED),
        {"event_type": "dropped", "is_attempt": False, "response_text": "bounce-queue", "response_origin": "local"},
    ),
    (
        row("d", "gus@a.example", dlvType="discard", dsnStatus="2.0.0 (success)", **UNCONNECTED),
        {"event_type": "delivered", "is_attempt": False, "sending_ip": None},
    ),
    (row("r", "hal@a.example", envId="e1"), {"event_type": "injected", "is_attempt": False, "response_origin": "unknown"}),
    (row("r", "hal@a.example", envId=""), {"event_type": None, "native_event_type": "r (no envelope id)"}),
    (
        row("rb", "ida@a.example", dsnStatus="5.2.2 (mailbox full)", dsnDiag="smtp;552 5.2.2 over quota", dsnMta="mx.b.example"),
        {"event_type": "out_of_band_bounce", "smtp_code": 552, "mx_host": "mx.b.example", "is_attempt": False},
    ),
    (row("f", "jo@a.example"), {"event_type": "complaint", "response_origin": "unknown"}),
    (row("f", ""), {"event_type": None, "native_event_type": "f (no recipient)"}),
    (row("tq", ""), {"event_type": None, "native_event_type": "tq"}),
    (row("rs", "kim@a.example"), {"event_type": None, "native_event_type": "rs"}),
]  # fmt: skip


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_every_type_becomes_its_event(tmp_path: Path, end: str) -> None:
    rows = staged(tmp_path, "powermta", {"acct.csv": sheet(*(given for given, _ in PERSONAS), end=end)})
    assert [{name: found[name] for name in expected} for found, (_, expected) in zip(rows, PERSONAS, strict=True)] == [
        expected for _, expected in PERSONAS
    ]


def test_column_order_case_and_empty_columns_change_no_event(tmp_path: Path) -> None:
    rows = [given for given, _ in PERSONAS]
    names = HEADER.split(",")
    random.Random(5).shuffle(names)
    turned = sheet(*rows, header=",".join([*names, "vmtaPool", "header_Nothing"]), end="\n")
    shouted = sheet(*rows).replace(
        HEADER.encode(),
        HEADER.upper().replace("HEADER_FROM", "header_From").replace("HEADER_X-CAMPAIGN", "header_X-Campaign").encode(),
    )
    events = staged(tmp_path, "powermta", {"a.csv": sheet(*rows), "b.csv": turned, "c.csv": shouted})
    by_file = [
        [each["event_id"] for each in events if each["source_file"].endswith(name)]
        for name in ("a.csv", "b.csv", "c.csv")
    ]
    assert by_file[0] == by_file[1] == by_file[2]
    assert len(set(by_file[0])) == len(PERSONAS)


def test_header_may_come_again_with_other_columns(tmp_path: Path) -> None:
    first, _ = PERSONAS[0]
    again = sheet(first, header="rcpt,type,orig,timeLogged,timeQueued,rcvSourceIp,rcvSourceIp", end="\n")
    cut = b'd,2026-03-02 11:00:00+0100,2026-03-02 11:00:00+0100,"half a ro\n'
    rows = staged(tmp_path, "powermta", {"pipe.csv": sheet(first) + sheet(first) + cut + again + sheet(first)})
    assert [(each["record_number"], each["recipient"], each["event_type"]) for each in rows] == [
        (number, "ada@a.example", "delivered") for number in (2, 4, 7, 9)
    ]
    assert rejects(tmp_path, "powermta") == [(5, 1, "quotes do not match")]


def test_unknown_columns_are_kept_and_can_be_the_campaign(tmp_path: Path) -> None:
    given = row(
        "d", "a@a.example", **{"header_X-Campaign": 'He said "é\\"\tnow', "header_Message-Id": "<m1@x.example>"}
    )
    header = HEADER + ",header_Message-Id"
    variables = {"sources": {"powermta": {"campaign": ["headers.header_X-Campaign", "jobId"]}}}
    (found,) = staged(tmp_path, "powermta", {"acct.csv": sheet(given, header=header)}, variables)
    assert (found["campaign_id"], found["message_id"]) == ('He said "é\\"\tnow', "m1@x.example")


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-07-02 10:00:00+0000", datetime(2026, 7, 2, 10)),
        ("2026-07-02 10:00:00 -0330", datetime(2026, 7, 2, 13, 30)),
        ("2026-07-02T10:00:00Z", datetime(2026, 7, 2, 10)),
        ("1782986400", datetime(2026, 7, 2, 10)),
        ("07/02/2026 12:00:00", datetime(2026, 7, 2, 10)),
        ("2026-07-02 12:00:00", datetime(2026, 7, 2, 10)),
    ],
)
def test_times(tmp_path: Path, written: str, at: datetime) -> None:
    variables = {"sources": {"powermta": {"time_zone": "Europe/Berlin"}}}
    (found,) = staged(tmp_path, "powermta", {"a.csv": sheet(row("d", "a@a.example", timeLogged=written))}, variables)
    assert found["event_at"] == at


def test_rejects_name_their_reason(tmp_path: Path) -> None:
    bad = [
        row("zz", "a@a.example"),
        row("", "a@a.example"),
        row("d", ""),
        row("t", "a@a.example", timeLogged=""),
        row("d", "a@a.example", timeLogged="yesterday"),
    ]
    tail = b"d,too,few\r\n" + b"d," + b"x," * 40 + b"\r\n" + b"d,caf\xe9" + b"," * 22 + b"\r\n"
    assert staged(tmp_path, "powermta", {"a.csv": sheet(*bad) + tail}) == []
    assert [(number, reason) for number, _, reason in rejects(tmp_path, "powermta")] == [
        (2, "unknown record type 'zz'"),
        (3, "no record type"),
        (4, "no rcpt"),
        (5, "no timeLogged"),
        (6, "timeLogged is no time: 'yesterday'"),
        (7, "3 fields where the header has 24"),
        (8, "42 fields where the header has 24"),
        (9, "not UTF-8: byte 0xe9 at position 6"),
    ]


def test_value_over_several_lines(tmp_path: Path) -> None:
    reply = "smtp;550-5.1.1 no\r\n550 5.1.1 such user"
    given = [row("b", f"u{number}@a.example", dsnDiag=reply, **CONNECTED) for number in range(3)]
    rows = staged(tmp_path, "powermta", {"a.csv": sheet(*given)})
    assert [(each["record_number"], each["smtp_code"]) for each in rows] == [(2, 550), (4, 550), (6, 550)]


def test_any_blocks_give_the_same_rows() -> None:
    rng = random.Random(11)
    kinds = [given for given, _ in PERSONAS] + [
        row("b", "m@a.example", dsnDiag="smtp;550-one\r\n550 two"),
        row("b", "n@a.example", dsnDiag='smtp;550 say "type", and type'),
    ]
    content = b"".join(
        sheet(*rng.choices(kinds, k=9), header=rng.choice([HEADER, HEADER + ",vmtaPool"]))
        + rng.choice([b"", b"\r\n", b"short,row\r\n"])
        for _ in range(6)
    )

    def read(size: int) -> tuple[int, list[dict[str, Any]]]:
        counter = lines.Counter()
        blocks = (content[start : start + size] for start in range(0, len(content), size))
        batches = accounting.split_accounting(blocks, powermta.FIELDS, counter, with_lines=True)
        rows = [each for batch in batches for each in batch.to_pylist()]
        for each in rows:
            each["line"] = None if each["raw"] else each["line"].rstrip("\r")
            each["raw"] = each["raw"] and each["raw"].rstrip(b"\r")
        return counter.records, sorted(rows, key=lambda each: each["record_number"])

    whole = read(len(content))
    assert whole[0] == len(whole[1]) > 50
    for size in [7, 64, 333, *(rng.randrange(50, 3000) for _ in range(20))]:
        count, rows = read(size)
        assert count == whole[0]
        for found, expected in zip(rows, whole[1], strict=True):
            assert found == expected


def test_file_split_between_records_gives_the_same_events(tmp_path: Path) -> None:
    rows = [given for given, _ in PERSONAS]
    whole = staged(tmp_path / "whole", "powermta", {"a.csv": sheet(*rows)})
    parts = staged(tmp_path / "parts", "powermta", {f"{number}.csv": sheet(each) for number, each in enumerate(rows)})
    assert {each["event_id"] for each in whole} == {each["event_id"] for each in parts}


def test_file_of_another_kind(tmp_path: Path) -> None:
    assert (
        staged(tmp_path, "powermta", {"a.csv": b"name,address\nx,y\n", "b.csv": b"no csv at all\n", "c.csv": b""}) == []
    )
    assert {reason.split(":")[0] for _, _, reason in rejects(tmp_path, "powermta")} == {"a file of another kind"}


def test_public_samples_are_accounted_for(tmp_path: Path) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the samples of public logs are not here")
    inbox = tmp_path / "inbox" / "powermta"
    inbox.mkdir(parents=True)
    for path in SAMPLES.iterdir():
        (inbox / path.name).write_bytes(path.read_bytes())
    loads = land(tmp_path)
    assert sum(load.records_read for load in loads) == 5
    assert [each["event_type"] for each in stage(tmp_path, "powermta", loads)] == ["bounced", "bounced"]
    assert {reason for _, _, reason in rejects(tmp_path, "powermta")} == {"no timeLogged"}
