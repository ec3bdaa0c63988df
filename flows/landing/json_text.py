"""JSON that is not one object a line: objects run together, arrays, pretty-printed text. Exact, and only for such.

The fast way reads a line as one object inside the engine; what it could not read, and files that begin with text
of this kind, come here, where Python's decoder finds where each object ends.
"""

import json
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa

from flows.landing.lines import BOM, KEPT_BYTES, LINE_LIMIT_BYTES, Counter, rows_batch

Row = tuple[int, int, str | None, str | None, bytes | None]
"""record_number, record_part, line, flaw, raw: as in `lines.SCHEMA`."""

BATCH_ROWS = 2048
TAIL = 16
"""An error this near to the end of what has been read may be the cut, in the middle of `null` or of an escape."""

# Numbers stay text: nothing is computed with them, and Python refuses integers of more than 4300 digits.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
BETWEEN = re.compile(r"[\s,\[\]]*")
SEAM = re.compile(r"\}\s*,?\s*\{")


def is_document(head: bytes) -> bool:
    """Whether a file's first block shows that its objects are not one a line: then lines are the wrong unit for it."""
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    start = skip_between(text, 0)
    if "[" in text[:start] and "\n" in text[:start].lstrip():
        return True
    line_end = text.find("\n", start) % (len(text) + 1)
    try:
        _, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return error.pos > line_end and is_cut(error, text)
    except RecursionError:
        return False
    if "[" in text[:start] and "]" not in text[end:line_end]:
        return True
    return end > line_end or skip_between(text, end) < line_end


def skip_between(text: str, position: int) -> int:
    """Pass over what may stand between two values."""
    found = BETWEEN.match(text, position)
    assert found is not None  # the pattern matches the empty string
    return found.end()


def is_cut(error: json.JSONDecodeError, text: str) -> bool:
    """Whether an error may be due to the text ending where it does."""
    return error.pos >= len(text) - TAIL or error.msg.startswith("Unterminated string")


def split_objects(chunks: Iterable[str], number: int = 1) -> Iterator[Row]:
    """The JSON values of a text in order, whatever whitespace, commas or brackets stand between, with line and part.

    What is no JSON is given as flawed, from where its value began to where reading could go on.
    """
    source = iter(chunks)
    text, position = "", 0
    last_number, part = 0, 0
    is_open = True

    def more() -> bool:
        nonlocal text, position, is_open
        chunk = next(source, None)
        if chunk is None:
            is_open = False
            return False
        text, position = text[position:] + chunk, 0
        return True

    more()
    while True:
        start = skip_between(text, position)
        number += text.count("\n", position, start)
        position = start
        if position == len(text):
            if not more():
                return
            continue
        flaw = None
        try:
            value, end = DECODER.raw_decode(text, position)
            if end == len(text) and not isinstance(value, dict) and is_open and more():
                continue  # a number may go on in the next block
            if not isinstance(value, dict):
                flaw = "not a JSON object"
        except RecursionError:
            flaw, end = "not a JSON object: nested too deep", resume(text, position, position + 1)
        except json.JSONDecodeError as error:
            if is_cut(error, text) and is_open and len(text) - position < LINE_LIMIT_BYTES and more():
                continue
            flaw, end = (
                f"not a JSON object: {error.msg} at character {error.pos - position + 1}",
                resume(text, position, error.pos),
            )
        part = part + 1 if number == last_number else 1
        last_number = number
        record = text[position:end]
        number += record.count("\n")
        position = end
        if flaw is None and not record.isascii() and re.search("[\udc80-\udcff]", record):
            flaw = "not UTF-8"
        if flaw is None and "\0" in record:
            flaw = "holds a NUL byte"
        if flaw:
            raw = record.strip().encode("utf-8", "surrogateescape")
            yield last_number, part, None, flaw, raw[:KEPT_BYTES] if len(raw) > LINE_LIMIT_BYTES else raw
        else:
            yield last_number, part, record, None, None


def resume(text: str, begin: int, error: int) -> int:
    """Find where reading can go on after an error in a value that began before it.

    At the next line that begins an object, so that a line cut short does not take the next one with it; or after the
    error at the next line, or where one object ends and another begins.
    """
    newline = text.find("\n", error) + 1 or len(text)
    seam = SEAM.search(text, error, newline)
    fresh = text.find("\n{", begin + 1) + 1 or len(text)
    return min(fresh, seam.start() + 1 if seam else newline)


def decode_blocks(blocks: Iterable[bytes]) -> Iterator[str]:
    """Text of blocks that may cut a character in two; bytes that are no UTF-8 become surrogates (PEP 383)."""
    rest, first = b"", True
    for block in blocks:
        data = rest + (block.removeprefix(BOM) if first else block)
        first = False
        # A character that goes on in the next block has its first byte (11xxxxxx) among the last three.
        cut = next((back for back in (1, 2, 3) if len(data) >= back and data[-back] >= 0xC0), 0)
        rest = data[len(data) - cut :] if cut else b""
        yield data[: len(data) - cut].decode("utf-8", "surrogateescape")
    yield rest.decode("utf-8", "surrogateescape")


def split_document(blocks: Iterable[bytes], counter: Counter) -> Iterator[pa.RecordBatch]:
    """Batches of the objects of a whole file that is not one object a line."""
    return batches(split_objects(decode_blocks(blocks)), counter)


def batches(rows: Iterable[Row], counter: Counter) -> Iterator[pa.RecordBatch]:
    """Rows in batches, cut early where records are long."""
    held: list[Row] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row[2] or "") + len(row[4] or b"")
        if len(held) == BATCH_ROWS or size > KEPT_BYTES:
            counter.records += len(held)
            yield rows_batch(held)
            held, size = [], 0
    if held:
        counter.records += len(held)
        yield rows_batch(held)


def split_line(number: int, line: str) -> Iterator[Row]:
    """The objects of one line that is not one object; an SQS answer (`{"Messages": [...]}`) gives its messages."""
    is_empty = True
    for row in split_objects([line], number):
        is_empty = False
        _, part, text, _, _ = row
        messages = DECODER.decode(text).get("Messages") if text and part == 1 and '"Messages"' in text else None
        if isinstance(messages, list):
            # Written anew, which changes nothing that is read later: the body of a message is a string.
            yield from ((number, place, json.dumps(message), None, None) for place, message in enumerate(messages, 1))
        else:
            yield row
    if is_empty and re.sub(r"\s", "", line) != "[]":
        yield number, 1, None, "not a JSON object: brackets around nothing", line.encode()
