"""What SQL cannot say of an address: its international domain in the form that DNS knows (RFC 5891)."""

import re
from typing import Any

import duckdb
import idna
import pyarrow as pa
from duckdb import func, sqltypes

SPACES = " \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What DuckDB's `trim` takes off: Unicode's category Zs."""


def to_ascii(domain: str) -> str:
    """The domain in lower case with its international labels encoded: `Bücher.example` is `xn--bcher-kva.example`.

    Mapped as browsers and mail programs do (UTS 46). What is no domain stays as it is, in lower case.
    """
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return domain.lower()


def normal_form(address: str) -> str:
    """The form in which addresses are compared: what the macro `normal_address` of macros/addresses.sql gives."""
    found = re.search(r"<([^<>]*)>\s*$", address)
    bare = (found[1] if found else address).strip(SPACES).lower()
    local, at, domain = bare.rpartition("@")
    return local + at + to_ascii(domain) if at and not address.isascii() else bare


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give the engine `idna_domain(text)`, which `normal_address` asks for the domains that are not ASCII."""

    def to_ascii_all(domains: Any) -> Any:  # annotations are read by the engine, which knows no generic arrays
        return pa.array([to_ascii(domain) for domain in domains.to_pylist()], pa.string())

    connection.create_function("idna_domain", to_ascii_all, [sqltypes.VARCHAR], sqltypes.VARCHAR, type=func.ARROW)
