"""Decisions of administrators, written down: a JSON line each in `<home>/actions/`, which the next run lands."""

import errno
import fcntl
import json
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from flows.addresses import normal_form
from flows.erasure.pseudonyms import read_pseudonyms
from flows.failpoints import failpoint
from flows.landing.loads import sync
from flows.problems import CannotWriteError, WrongUsageError, remedy_of
from flows.settings import Settings
from flows.sql import text

ListName = Literal["suppression", "global"]

LONGEST_ADDRESS = 254
"""Characters (RFC 5321 section 4.5.3.1.3, as corrected by its erratum 1690)."""
LONGEST_NOTE = 1000


def write_action(
    settings: Settings,
    action: Literal["add", "remove"],
    address: str,
    *,
    by: str,
    reason: str,
    list_name: ListName = "suppression",
) -> tuple[Path, str]:
    """Write down that an address is put on a list or taken off it; gives the file and the address as written.

    One that was erased is written as its pseudonym.
    """
    address = check_address(address)
    pseudonyms = read_pseudonyms(settings)
    if pseudonyms:
        known = pseudonyms.or_same(normal_form(address))
        address = known if known in pseudonyms.known else address
    record = {**start_record(action, by=by, reason=reason), "address": address}
    if list_name != "suppression":
        record["list"] = list_name
    return append_record(settings, record), address


def start_record(action: str, *, by: str, reason: str) -> dict[str, str | float]:
    """Begin an action with what every action tells: what, when (now), who and why."""
    return {
        "action_id": uuid4().hex,
        "action": action,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "by": check_note(by, "--by"),
        "reason": check_note(reason, "--reason"),
    }


def append_record(settings: Settings, record: dict[str, str | float]) -> Path:
    """Append an action as one JSON line to the file of its month.

    The line is on the disk when this returns. A lock on the file keeps the lines of two administrators apart, and a
    line that a crash has cut is closed first, so that it cannot swallow this one.
    """
    path = settings.actions / f"{str(record['at'])[:7]}.jsonl"
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    try:
        settings.actions.mkdir(parents=True, exist_ok=True)
        descriptor = open_locked(path)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            failpoint("actions.opened")
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                failpoint("actions.written")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            sync(settings.actions)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CannotWriteError(
            f"cannot write the action to {path}: {error.strerror}; nothing was recorded",
            f"{remedy_of(error.errno)}; then give it again",
        ) from error
    return path


def open_locked(path: Path) -> int:
    """Open a file of actions for appending, made if it is not there, and lock it; the lock goes with the descriptor.

    Another file may take its place while we wait for the lock (`bouncehouse erase`): then that one is opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


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
    if any(character.isspace() for character in address) or not is_plain(address):
        raise WrongUsageError(f"{address!r} holds a space or a control character", "give the address without it")
    return address


def check_note(note: str, option: str) -> str:
    """Give who or why trimmed; it must be there, and be one line of plain text."""
    note = note.strip()
    if not note:
        raise WrongUsageError(f"{option} is empty", "the ledger records who decided and why: give both")
    if len(note) > LONGEST_NOTE or not is_plain(note):
        raise WrongUsageError(
            f"{option} holds a control character or is longer than {LONGEST_NOTE} characters",
            "give one line of plain text",
        )
    return note


def is_plain(note: str) -> bool:
    """Whether a text holds nothing that is not seen but acts."""
    # Cs: bytes of the command line that are no UTF-8 arrive as lone surrogates, and could not be written as JSON
    return not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in note)


IS_PLAIN_ADDRESS = "[!-;=?A-~]+@[!-;=?A-~]+"
"""Matches most addresses whole: printable ASCII about one @, with no space and no angle bracket."""


def find_problem(address: str) -> str:
    """SQL that says what is wrong with an address in normal form; null where `check_address` would take it."""
    return f"""case
        when length({address}) > {LONGEST_ADDRESS} then {text(f"longer than {LONGEST_ADDRESS} characters")}
        when regexp_full_match({address}, {text(IS_PLAIN_ADDRESS)}) then null
        when coalesce({address}, '') = '' then 'no address'
        when not contains({address}, '@') then 'no @'
        when regexp_matches({address}, '(?s)@.*@') then 'more than one @'
        when regexp_matches({address}, '^@|@$') then 'nothing before or after the @'
        when regexp_matches({address}, '[\\s\\p{{Z}}\\p{{Cc}}\\p{{Cf}}]') then 'a space or a control character in it'
    end"""
