"""Mail taken apart: mailboxes to messages, messages to MIME parts, header fields, texts and dates.

Content types, encoded words, transfer encodings, addresses and dates are read by the standard library; header fields
and parts are cut here, so that the body of a returned message, often the largest part by far, is never parsed, and
damaged ones are read as far as they go. Whatever a message holds, the work on it is bounded: depth, parts, header bytes
and text bytes all have limits.
"""

import binascii
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value, parsedate_tz
from itertools import chain, islice

from flows.landing.lines import BOM

MESSAGE_LIMIT_BYTES = 64 << 20
"""Of a longer message only so much is read: what a report says stands at its begin."""

HEADER_LIMIT_BYTES = 256 << 10
FIELD_LIMIT = 1000
VALUE_LIMIT = 4000
TEXT_LIMIT_BYTES = 64 << 10
DEPTH_LIMIT = 8
PART_LIMIT = 64
OVERLAP_BYTES = 2048

FROM_LINE = re.compile(rb"\nFrom [^\n]*\d\d:\d\d[^\n]*\n")
ASCTIME = re.compile(rb"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]?\d \d\d:\d\d(?::\d\d)? (?:[A-Z+-]\w{2,5} )?\d{4}\b")
HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|>From ")
QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)

FIRST_LINE = re.compile(rb"\s*(?:>?From [^\n]*\n)?[A-Za-z][A-Za-z0-9_.-]*[ \t]*:")

CHARSET = re.compile(
    r"(us-)?ascii|utf-?(7|8|16(le|be)?)|unicode-1-1-utf-7|(iso-?8859|windows|cp|koi8|euc|iso-2022|gb|big5)[\w-]*"
    r"|(x-|shift_)?s?jis|ks_c_5601[\w-]*|macintosh|tis-620",
    re.IGNORECASE,
)
"""Character sets whose decoders are tables; others that Python has (`idna` …) take long on long input."""

ZONES = {
    "JST": 9,
    "KST": 9,
    "HKT": 8,
    "MSK": 3,
    "EET": 2,
    "EEST": 3,
    "CET": 1,
    "CEST": 2,
    "MET": 1,
    "MEST": 2,
    "WEST": 1,
}
"""Hours ahead of UTC of names that mailers write although RFC 5322 does not know them; none that means two zones."""


def is_mail(head: bytes) -> bool:
    """Whether a file begins like a mail or a mailbox."""
    return FIRST_LINE.match(head.removeprefix(BOM)) is not None


def cut_messages(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The messages of a mailbox (mboxo or mboxrd), each from its `From ` line on; any other content is one message."""
    held, oversize = b"", b""
    scanned, is_first, is_mailbox = 0, True, False
    for block in chain(blocks, [b""]):
        held += block
        if is_first:
            if block and len(held) < OVERLAP_BYTES:
                continue
            held = held.removeprefix(BOM)
            is_first, is_mailbox = False, held.lstrip().startswith(b"From ")
        # The line behind a seam may be in the next block.
        end = max(len(held) - OVERLAP_BYTES, 0) if block else len(held)
        begin = 0
        for match in FROM_LINE.finditer(held, scanned) if is_mailbox else ():
            if match.start() >= end:
                break
            if is_seam(held, match):
                yield oversize or held[begin : match.start() + 1]
                oversize, begin = b"", match.start() + 1
        held = held[begin:]
        scanned = max(end - begin, 0)
        if len(held) > MESSAGE_LIMIT_BYTES:
            oversize = oversize or held[:MESSAGE_LIMIT_BYTES]
            held = held[-OVERLAP_BYTES:]
            scanned = 0
    if oversize or held.strip():
        yield oversize or held


def is_seam(content: bytes, match: "re.Match[bytes]") -> bool:
    """Whether a line begins a message (RFC 4155), and is no text that was not quoted.

    Of a blank line before it, a date as asctime writes it, and a header field behind it, one may be missing.
    """
    begin = match.start() + 1
    signs = (
        content[max(begin - 3, 0) : begin].endswith((b"\n\n", b"\n\r\n")),
        ASCTIME.search(match[0]) is not None,
        HEADER_LINE.match(content, match.end()) is not None,
    )
    return sum(signs) >= 2


@dataclass(slots=True)
class Fields:
    """Header fields in order, unfolded, with the first of each name by its name in lower case."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)

    def get(self, *names: str) -> str | None:
        """The first of the named fields that says something."""
        return next((self.first[name] for name in names if self.first.get(name)), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]


@dataclass(slots=True)
class Part:
    """A part of a message: its fields, its type in lower case, and what follows its fields."""

    fields: Fields
    body: bytes
    content_type: str = "text/plain"
    boundary: str | None = None
    charset: str | None = None
    report_type: str | None = None


# RFC 5322, 2.2. A line that begins no field belongs to the one before, also where its blank was lost on the way.
FIELD = re.compile(r"^([!-9;-~]+)[ \t]*:(.*(?:\n(?![!-9;-~]+[ \t]*:).*)*)", re.MULTILINE)


def read_fields(block: bytes) -> Fields:
    """The header fields of a block of lines; what is none is passed over, and long values are cut."""
    fields = Fields()
    text = block[:HEADER_LIMIT_BYTES].decode("utf-8", "surrogateescape")
    for name, raw in islice(FIELD.findall(text), FIELD_LIMIT):
        value = raw[:VALUE_LIMIT]
        if "\n" in value:
            value = " ".join(line.strip() for line in value.split("\n"))
        value = readable(value).strip() if not value.isascii() or "\0" in value else value.strip()
        key = name.lower()
        fields.pairs.append((key, value))
        fields.first.setdefault(key, value)
    return fields


def readable(value: str) -> str:
    """A text that can be stored: bytes that the parser could not read (PEP 383) as UTF-8, else as Latin-1; no NUL."""
    if not value.isascii():
        raw = value.encode("utf-8", "surrogateescape")
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def cut_header(message: bytes) -> tuple[bytes, bytes]:
    """The header block and the body; lines end with a bare newline."""
    if message.startswith(b"\n"):
        return b"", message[1:]
    end = message.find(b"\n\n")
    return (message, b"") if end < 0 else (message[: end + 1], message[end + 2 :])


def read_part(content: bytes) -> Part:
    """A message or a part of one; nothing below its header is looked at yet."""
    header, body = cut_header(content)
    part = Part(read_fields(header), body)
    content_type = part.fields.first.get("content-type")
    if content_type and len(content_type) < VALUE_LIMIT // 2:
        described = Message()
        described["Content-Type"] = content_type
        try:
            part.content_type = described.get_content_type()
            if ";" in content_type:
                given = {name.lower(): value for name, value in described.get_params([])}
                texts = {name: collapse_rfc2231_value(value) for name, value in given.items()}
                part.boundary = texts.get("boundary", "").rstrip() or None
                part.charset = texts.get("charset", "").lower() or None
                part.report_type = texts.get("report-type", "").lower() or None
        except (ValueError, LookupError, TypeError, AttributeError):
            part.content_type = "text/plain"
    return part


def cut_parts(body: bytes, boundary: str) -> list[bytes]:
    """The parts between the lines of a boundary (RFC 2046, 5.1.1), if there are any; the last may lack its end."""
    mark = b"\n--" + boundary.encode("utf-8", "surrogateescape")
    parts: list[bytes] = []
    is_open = False
    for piece in (b"\n" + body).split(mark, PART_LIMIT * 2)[0 if body.startswith(mark[1:]) else 1 :]:
        line, _, rest = piece.partition(b"\n")
        if line.strip() and not line.startswith(b"--"):
            # the begin of a longer boundary, or of a line of text
            if is_open:
                parts[-1] += mark + piece
        elif line.startswith(b"--") and not line[2:].strip():
            break
        elif line.strip():
            if is_open:
                parts[-1] += mark + piece
        else:
            parts.append(rest)
            is_open = True
        if len(parts) > PART_LIMIT:
            break
    return parts


def leaves(part: Part, depth: int = 0) -> Iterator[Part]:
    """The parts that hold something, in order, at most `PART_LIMIT`; what a multipart of no boundary holds is text."""
    found = 0
    if part.content_type.startswith("multipart/") and depth < DEPTH_LIMIT:
        pieces = cut_parts(part.body, part.boundary) if part.boundary else []
        for piece in pieces:
            inner = read_part(piece)
            if part.content_type == "multipart/digest" and "content-type" not in inner.fields.first:
                inner.content_type = "message/rfc822"
            for leaf in leaves(inner, depth + 1):
                yield leaf
                found += 1
                if found >= PART_LIMIT:
                    return
        if pieces:
            return
        part.content_type = "text/plain"
    yield part


def decode_body(part: Part, limit: int = TEXT_LIMIT_BYTES) -> bytes:
    """The begin of a body without its transfer encoding, as far as it decodes."""
    encoding = (part.fields.get("content-transfer-encoding") or "").lower()
    if encoding.startswith("base64"):
        data = re.sub(rb"[^A-Za-z0-9+/]", b"", part.body[: limit * 2])
        return binascii.a2b_base64(data[: len(data) // 4 * 4])[:limit]
    body = part.body[:limit]
    return binascii.a2b_qp(body) if encoding.startswith("quoted") else body


def decode_text(part: Part) -> str:
    """The text of a part, of HTML without tags; newlines are bare. Of a wrong charset come wrong letters."""
    raw = decode_body(part)
    charset = part.charset if part.charset and CHARSET.fullmatch(part.charset) else "utf-8"
    try:
        text = raw.decode(charset)
    except (UnicodeError, LookupError):
        text = readable(raw.decode("utf-8", "surrogateescape"))
    if part.content_type == "text/html":
        text = html_text(text)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")


def html_text(source: str) -> str:
    """What a page says, a line for each paragraph, without regard to how it is nested."""
    shown, hidden = [], False
    for piece in re.split(r"(?i)(</?(?:style|script|title)\b[^<>]{0,500}>)", source):
        if re.match(r"(?i)</?(?:style|script|title)\b", piece):
            hidden = not piece.startswith("</")
        elif not hidden:
            shown.append(piece)
    lines = re.sub(r"(?i)<(?:br|/p|/div|/tr|/h\d|/pre|/li)\b[^<>]{0,500}>", "\n", "".join(shown))
    return html.unescape(re.sub(r"<[^<>]{1,2000}>", "", lines))


def decode_words(value: str | None) -> str | None:
    """A header text with its encoded words (RFC 2047) decoded where that is possible."""
    if not value or "=?" not in value:
        return value
    try:
        return readable(str(make_header(decode_header(value[:1000]))))
    except (MessageError, ValueError, LookupError, TypeError, AssertionError):
        return value


def parse_date(value: str | None) -> datetime | None:
    """A date of RFC 5322, obsolete and sloppy forms included; of no zone, or of an unknown one, it is UTC."""
    if not value:
        return None
    try:
        parsed = parsedate_tz(value[:200])
        if parsed is None:
            return None
        offset = parsed[9]
        if not offset:
            name = re.search(r"\b([A-Z]{3,4})\b\W*$", value[:200])
            offset = ZONES.get(name[1], 0) * 3600 if name and not re.search(r"[+-]\d{4}", value) else 0
        zone = timezone(timedelta(seconds=offset))
        return datetime(*parsed[:6], tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def unquote_from(message: bytes) -> bytes:
    """A message of a mailbox with one `>` taken off the lines that were quoted for it (mboxrd)."""
    return QUOTED_FROM.sub(rb"\1", message) if b">From " in message else message
