"""Where an address stands in a text: as it is written, in capitals, encoded, or in the return path of its message."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import idna
import pyarrow as pa

from flows.landing.lines import pc

_TEXT_WORD = r"\pL\pN"
_BYTES_WORD = "A-Za-z0-9"

_ESCAPED = r"\\[nrtbf]|\\u[0-9a-f]{4}|%(?:20|22|26|27|28|2C|2F|3A|3B|3C|3D|3F|5B|7C|0A|0D|09)"
"""What may stand before an address and ends in a letter or digit: escapes of JSON, and of addresses of pages."""
_QUOTED_PRINTABLE = "=(?:20|22|27|28|2C|3A|3B|3C|3D|5B|0A|0D|09)"
"""The same of mail (RFC 2045 section 6.7)."""

FULL_WIDTH_AT = "\uff20"
FULL_STOPS = "\u3002\uff0e\uff61"
"""What stands for `@` and `.` in the scripts of East Asia."""

_AT = rf"(?:@|%40|=40|\\u0040|&#64;|{FULL_WIDTH_AT})"
_VERP_AT = r"(?:=|%3D|=3D|\\u003d)"
_BESIDE_LOCAL = r".!#$%^`+~_*-"
"""What goes on to the left: the `jo-` of `jo-ann@`. Others of RFC 5322's atext stand before an address in logs."""


NEAR_BYTES = 2000
"""How far the ends of an address may be from a part of it, each character encoded in the longest way."""


@dataclass(frozen=True)
class Target:
    """An address in normal form, and what takes its place."""

    address: str
    pseudonym: str

    @property
    def local(self) -> str:
        return self.address.rpartition("@")[0]

    @property
    def new_local(self) -> str:
        return self.pseudonym.rpartition("@")[0]

    @cached_property
    def hints(self) -> tuple[bytes, ...]:
        """What bytes in lower case hold if they name the address, in an encoding of one byte or two; empty if unknown.

        To look for it takes a hundredth of the patterns' time.
        """
        run = max(re.findall("[a-z0-9]+", self.local), key=len, default="").encode()
        return (run, b"\0".join(run[place : place + 1] for place in range(len(run)))) if run else ()

    @cached_property
    def text_patterns(self) -> tuple[str, ...]:
        """RE2 with what precedes the local part as first group, and all behind it as second; for text."""
        return self._patterns(_TEXT_WORD, _ESCAPED)

    @cached_property
    def byte_patterns(self) -> tuple[str, ...]:
        """The same for bytes of any encoding, UTF-16 among them."""
        wide = "\0".join(self.address)
        return (
            *self._patterns(_BYTES_WORD, f"{_ESCAPED}|{_QUOTED_PRINTABLE}"),
            f"(?i)()(?:{encode_all(wide.rpartition('@')[0])})({encode_all('@' + wide.rpartition('@')[2])})",
        )

    def _patterns(self, word: str, escaped: str) -> tuple[str, ...]:
        local = encode_all(self.local)
        domain = "|".join(encode_all(form) for form in domain_forms(self.address.rpartition("@")[2]))
        end = rf"(?:$|[^{word}.-]|\.(?:$|[^{word}-])|-+(?:$|[^{word}.-]))"
        return (
            rf"(?i)(^|{escaped}|[^{word}{re.escape(_BESIDE_LOCAL)}])(?:{local})({_AT}(?:{domain}){end})",
            rf"(?i)(^|{escaped}|[^{word}])(?:{local})({_VERP_AT}(?:{domain}){end})",
        )

    @cached_property
    def local_patterns(self) -> tuple[str, ...]:
        """The local part by itself, in the places where `masked_recipient` of flows/rules/mask.py masks it.

        Only for records that name the address. What masking took for a recipient's name it must still find.
        """
        return self._local_patterns(r"[\"'<(\[]", r"[\"'>)\]]", "")

    @cached_property
    def json_local_patterns(self) -> tuple[str, ...]:
        """The same within a JSON text, whose own keys and values stay: an address may be called `type@`."""
        return self._local_patterns(r"\\[\"']|['<(\[]", r"\\[\"']|['>)\]]", r"(?:$|[^\"]|\"(?:$|\s*[^\s:]))")

    def _local_patterns(self, opening: str, closing: str, end: str) -> tuple[str, ...]:
        local = re.escape(self.local)
        patterns = [f"(?i)({opening})(?:{local})({closing})"]
        is_distinct = re.search("[0-9._]", self.local) and re.search("[a-z]", self.local) and len(self.local) >= 5
        return (*patterns, f"(?i)()(?:{local})({end})") if is_distinct else tuple(patterns)


def domain_forms(domain: str) -> list[str]:
    """A domain as DNS knows it and, where it is an international one, as people write it."""
    try:
        return list(dict.fromkeys([domain, idna.decode(domain)]))
    except (idna.IDNAError, UnicodeError):
        return [domain]


def encode_all(text: str) -> str:
    """A pattern for a text each of whose characters but letters and digits may be encoded."""
    return "".join(
        character
        if character.isascii() and character.isalnum()
        else "\\x00"
        if character == "\0"
        else "(?:" + "|".join(encode_one(character)) + ")"
        for character in text
    )


def encode_one(character: str) -> list[str]:
    """Patterns for the ways in which a character is written."""
    octets = character.encode(errors="surrogatepass")
    forms = [re.escape(character)]
    if character == ".":
        forms += FULL_STOPS
    else:
        forms += ["".join(f"{mark}{octet:02X}" for octet in octets) for mark in ("%", "=")]
        forms += [rf"\\u{ord(character):04x}"] if ord(character) < 0x10000 else []
    return forms


def find_rows(column: "pa.Array[Any]", targets: Sequence[Target]) -> "pa.Array[Any]":
    """Which values of a column of text or bytes name one of the addresses; false for null."""
    found = pa.repeat(pa.scalar(False), len(column))
    lowered = lower(column)
    for target in targets:
        if is_hinted(lowered, target):
            for pattern in patterns_for(column, target):
                found = pc.or_(found, pc.fill_null(pc.match_substring_regex(column, pattern), False))
    return found


def lower(column: "pa.Array[Any]") -> bytes:
    """The values of a column of text or bytes in lower case, one after the other; of a slice those around it, too."""
    written = column.buffers()[2] if len(column) else None
    return written.to_pybytes().lower() if written else b""


def is_hinted(lowered: bytes, target: Target) -> bool:
    """Whether bytes in lower case may name the address at all."""
    return not target.hints or any(hint in lowered for hint in target.hints)


def patterns_for(column: "pa.Array[Any]", target: Target) -> tuple[str, ...]:
    """The patterns for a column of text, or of bytes."""
    return target.byte_patterns if pa.types.is_binary(column.type) else target.text_patterns


def replace_in(column: "pa.Array[Any]", target: Target) -> "pa.Array[Any]":
    """The column with the pseudonym in the place of the address."""
    if not is_hinted(lower(column), target):
        return column  # only to compile the patterns takes milliseconds, and nearly no text names the address
    for pattern in patterns_for(column, target):
        new = "".join(f"{letter}\0" for letter in target.new_local) if r"\x00" in pattern else target.new_local
        column = replace_twice(column, pattern, new)
    return column


def replace_local_in(column: "pa.Array[Any]", target: Target) -> "pa.Array[Any]":
    """The column with the pseudonym's local part in the place of the address's."""
    in_json = in_text = column
    for pattern in target.local_patterns:
        in_text = replace_twice(in_text, pattern, target.new_local)
    for pattern in target.json_local_patterns:
        in_json = replace_twice(in_json, pattern, target.new_local)
    replaced: pa.Array[Any] = pc.if_else(pc.match_substring_regex(column, r"^\s*[{\[]"), in_json, in_text)
    return replaced


def replace_twice(column: "pa.Array[Any]", pattern: str, new: str) -> "pa.Array[Any]":
    """Replace what stands between a pattern's two groups, also where what parts two of them is of the first match."""
    for _ in range(2):
        column = pc.replace_substring_regex(column, pattern, rf"\1{new}\2")
    return column


def replace_in_batch(batch: pa.RecordBatch, targets: Sequence[Target]) -> pa.RecordBatch:
    """The records with every address gone from every column of text or bytes."""
    columns = list(batch.columns)
    places = [place for place, column in enumerate(columns) if is_searchable(column.type)]
    for target in targets:
        named = pa.repeat(pa.scalar(False), batch.num_rows)
        for place in places:
            named = pc.or_(named, find_rows(columns[place], [target]))
        if not pc.any(named).as_py():
            continue
        for place in places:
            replaced = replace_local_in(replace_in(columns[place].filter(named), target), target)
            columns[place] = pc.replace_with_mask(columns[place], named, replaced)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def is_searchable(kind: pa.DataType) -> bool:
    """Whether a column of that type can name an address."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def holds(data: bytes, targets: Sequence[Target]) -> bool:
    """Whether bytes of any kind name one of the addresses."""
    return any(is_named(data, data.lower(), target) for target in targets)


def is_named(data: bytes, lowered: bytes, target: Target) -> bool:
    """As `holds`, of one address; looks only near where its hints are."""
    pieces = [data]
    if target.hints:
        pieces = [
            data[max(match.start() - NEAR_BYTES, 0) : match.end() + NEAR_BYTES]
            for match in re.finditer(b"|".join(map(re.escape, target.hints)), lowered)
        ]
    column = pa.array(pieces, pa.binary())
    return any(pc.any(pc.match_substring_regex(column, pattern)).as_py() is True for pattern in target.byte_patterns)


def replace_in_bytes(data: bytes, targets: Sequence[Target]) -> bytes:
    """Bytes of any kind with every address gone."""
    column: pa.Array[Any] = pa.array([data], pa.binary())
    for target in targets:
        column = replace_in(column, target)
    replaced: bytes = column[0].as_py()
    return replaced


def replace_in_text(text: str, targets: Sequence[Target]) -> str:
    """A text with every address gone."""
    column: pa.Array[Any] = pa.array([text], pa.string())
    for target in targets:
        column = replace_in(column, target)
    replaced: str = column[0].as_py()
    return replaced
