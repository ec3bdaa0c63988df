"""HMAC-SHA-256 (RFC 2104) within the engine, which has SHA-256 only."""

import hashlib

import duckdb

BLOCK = 64
"""Bytes of a block of SHA-256, to which HMAC fills up the key."""


def set_key(connection: duckdb.DuckDBPyConnection, name: str, key: bytes) -> None:
    """Give the engine a key as two variables, never as text of a query, where a message could show it."""
    key = hashlib.sha256(key).digest() if len(key) > BLOCK else key
    key = key.ljust(BLOCK, b"\0")
    for part, fill in (("inner", 0x36), ("outer", 0x5C)):
        connection.execute(f"set variable {name}_{part} = $1::blob", [bytes(byte ^ fill for byte in key)])


def keyed_hash(name: str, value: str) -> str:
    """SQL for the hash (64 hexadecimal digits) of SQL for a text, with the key that `set_key` has named."""
    inner = f"unhex(sha256(getvariable('{name}_inner') || encode({value})))"
    return f"sha256(getvariable('{name}_outer') || {inner})"
