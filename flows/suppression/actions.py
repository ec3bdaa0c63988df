"""The suppression list as an administrator meets it: read the list, ask why, write down an action.

An action is a line in `<home>/actions/`; the next run lands it like any log, and the ledger takes it in.
"""

import fcntl
import json
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pyarrow as pa

from flows.problems import ActionableError, WrongUsageError
from flows.report import open_published
from flows.settings import Settings

LONGEST_ADDRESS = 254
"""Characters (RFC 5321 section 4.5.3.1.3, as corrected by its erratum 1690)."""
LONGEST_NOTE = 1000


def write_action(
    settings: Settings, action: Literal["add", "remove"], address: str, *, by: str, reason: str
) -> tuple[Path, str]:
    """Append the action as one JSON line to this month's file; gives the file and the address as written.

    The line is on the disk when this returns. A lock on the file keeps the lines of two administrators apart, and a
    line that a crash has cut is closed first, so that it cannot swallow this one.
    """
    address = check_address(address)
    record = {
        "action_id": uuid4().hex,
        "action": action,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "address": address,
        "by": check_note(by, "--by"),
        "reason": check_note(reason, "--reason"),
    }
    path = settings.actions / f"{record['at'][:7]}.jsonl"
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    try:
        settings.actions.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # given back with the descriptor
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ActionableError(
            f"cannot write the action to {path}: {error.strerror}",
            "nothing was recorded; make room or allow writing there",
        ) from error
    if written != len(line):
        raise ActionableError(
            f"only {written} of {len(line)} bytes of the action fitted into {path}",
            "make room, then give the action again",
        )
    return path, address


def check_address(address: str) -> str:
    """Give the address trimmed; `WrongUsageError` for what cannot be one."""
    address = address.strip()
    local, _, domain = address.partition("@")
    if not local or not domain or "@" in domain:
        raise WrongUsageError(f"{address!r} is no address", "give one address with one @ between name and domain")
    if len(address) > LONGEST_ADDRESS:
        raise WrongUsageError(
            f"the address has {len(address)} characters", f"an address has at most {LONGEST_ADDRESS} (RFC 5321)"
        )
    if any(character.isspace() for character in address) or not _is_plain(address):
        raise WrongUsageError(f"{address!r} holds a space or a control character", "give the address without it")
    return address


def check_note(note: str, option: str) -> str:
    """Give who or why trimmed; it must be there, and be one line of plain text."""
    note = note.strip()
    if not note:
        raise WrongUsageError(f"{option} is empty", "the ledger records who decided and why: give both")
    if len(note) > LONGEST_NOTE or not _is_plain(note):
        raise WrongUsageError(
            f"{option} holds a control character or is longer than {LONGEST_NOTE} characters",
            "give one line of plain text",
        )
    return note


def _is_plain(text: str) -> bool:
    # Cs: bytes of the command line that are no UTF-8 arrive as lone surrogates, and could not be written as JSON
    return not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text)


def list_suppressed(database: Path, *, domain: str | None = None) -> pa.Table:
    """Take the published list, one row an address, by address; only a recipient domain's addresses if one is given."""
    with open_published(database) as connection:
        table: pa.Table = connection.execute(
            """
            select address, suppressed_at, reason, source_name, campaign_id, rule_set_version, suppression_policy
            from marts.dim_suppressed_addresses
            where $domain::varchar is null or recipient_domain = lower($domain)
            order by address, suppressed_at
            """,
            {"domain": domain},
        ).to_arrow_table()
    return table


def is_suppressed(database: Path, address: str) -> bool:
    """Say whether the published list holds the address."""
    with open_published(database) as connection:
        row = connection.execute(
            "select exists (select 1 from marts.dim_suppressed_addresses where lower(address) = lower(?))", [address]
        ).fetchone()
    return bool(row and row[0])


def find_history(database: Path, address: str) -> pa.Table:
    """Take all of the published ledger that speaks of the address, oldest first, with the replies."""
    with open_published(database) as connection:
        table: pa.Table = connection.execute(
            """
            select
                occurred_at, action, acted_by, why, reason, source_name, response_text, rule_set_version,
                suppression_policy,
            from marts.fct_suppression_events
            where lower(address) = lower(?)
            order by occurred_at, suppression_event_id
            """,
            [check_address(address)],
        ).to_arrow_table()
    return table
