"""What stands for an erased address: `erased-<32 hexadecimal digits>@<its domain>`, by HMAC-SHA-256.

The key lies in the home, so that the address is still recognised in a mailing list or in tomorrow's logs; who has the
home can test a guess, who has the published file or an export cannot. The addresses themselves are kept nowhere.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from flows.keyed_hash import keyed_hash, set_key
from flows.problems import ActionableError
from flows.settings import Settings

KEY_NAME = "erasures.key"
RECORDS_NAME = "erasures.jsonl"

PREFIX = "erased-"
DIGITS = 32
"""Hexadecimal digits of the hash that are kept: 128 bits."""


@dataclass(frozen=True)
class Pseudonyms:
    """The home's key, and the pseudonyms of all addresses that were erased in it."""

    key: bytes
    known: frozenset[str]

    def of(self, address: str) -> str:
        """The pseudonym of an address in normal form."""
        digest = hmac.new(self.key, address.encode(), hashlib.sha256).hexdigest()
        return f"{PREFIX}{digest[:DIGITS]}@{address.rpartition('@')[2]}"

    def or_same(self, address: str) -> str:
        """The pseudonym of an address in normal form that was erased; any other address as it is."""
        return pseudonym if self.known and (pseudonym := self.of(address)) in self.known else address


def read_pseudonyms(settings: Settings) -> Pseudonyms | None:
    """Read key and records; None where nothing was ever erased, `ActionableError` where the key is lost."""
    records = settings.root / RECORDS_NAME
    if not records.exists():
        return None
    path = settings.root / KEY_NAME
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ActionableError(
            f"{path} is missing or damaged: erased addresses cannot be recognised without it",
            "put it back from a backup of the home",
        ) from error
    known = set()
    for line in records.read_text(encoding="utf-8").splitlines():
        try:
            known.add(str(json.loads(line)["pseudonym"]))
        except (ValueError, KeyError, TypeError):
            continue  # cut by a crash before anything was erased for it
    return Pseudonyms(key, frozenset(known))


def make_pseudonyms(settings: Settings) -> Pseudonyms:
    """As `read_pseudonyms`, with a new key where nothing was erased before."""
    found = read_pseudonyms(settings)
    if found is not None:
        return found
    path = settings.root / KEY_NAME
    if not path.exists():
        temporary = path.with_name(f".{KEY_NAME}.new")
        write_durably(temporary, secrets.token_bytes(32).hex(), os.O_TRUNC)
        temporary.replace(path)
    return Pseudonyms(bytes.fromhex(path.read_text(encoding="ascii")), frozenset())


def record_erasures(settings: Settings, pseudonyms: list[str], *, by: str, reason: str) -> None:
    """Write down that addresses are erased from now on: all that lands later is looked through for them."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [
        json.dumps({"pseudonym": pseudonym, "at": at, "by": by, "reason": reason}, ensure_ascii=False) + "\n"
        for pseudonym in pseudonyms
    ]
    path = settings.root / RECORDS_NAME
    is_cut = path.exists() and not path.read_bytes().endswith(b"\n")
    write_durably(path, "\n" * is_cut + "".join(lines), os.O_APPEND)


def write_durably(path: Path, text: str, flag: int) -> None:
    """Write to a file that only its owner can read, and see it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def prepare(connection: duckdb.DuckDBPyConnection, pseudonyms: Pseudonyms | None) -> None:
    """Give the connection the table `erased` of pseudonyms and the macro `known_address(address)`.

    The macro gives the pseudonym of an address that was erased, any other address as it is.
    """
    known = sorted(pseudonyms.known) if pseudonyms else []
    connection.register("erased_now", pa.table({"pseudonym": pa.array(known, pa.string())}))
    connection.execute("create or replace temp table erased as select pseudonym from erased_now")
    connection.unregister("erased_now")
    if not pseudonyms or not known:
        connection.execute("create or replace temp macro known_address(address) as address")
        return
    set_key(connection, "erasure", pseudonyms.key)
    connection.execute(
        f"""
        create or replace temp macro known_address(address) as case
            when split_part(address, '@', -1) in (select split_part(pseudonym, '@', -1) from erased)
                then coalesce((select pseudonym from erased where pseudonym = {pseudonym_of("address")}), address)
            else address
        end
        """
    )


def pseudonym_of(address: str) -> str:
    """SQL for the pseudonym of SQL for an address in normal form."""
    return f"'{PREFIX}' || left({keyed_hash('erasure', address)}, {DIGITS}) || '@' || split_part({address}, '@', -1)"
