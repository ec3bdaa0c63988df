"""JSON that is not one object a line: objects run together, arrays, pretty-printed text. Exact, and only for such.

The fast way reads lines inside the engine, each as one object or as an array of them; what it could not read, and
files that begin with text of another kind, come here, where Python's decoder finds where each object ends.
"""

import json
import re
from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa

from flows.landing.lines import BOM, KEPT_BYTES, LINE_LIMIT_BYTES, Counter, pc, rows_batch
from flows.sql import text

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
    if is_object(head.split(b"\n", 1)[0]):
        return False  # as nearly every file begins; the whole block is looked at for others
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    start = skip_between(text, 0)
    if "[" in text[:start] and "\n" in text[:start].lstrip():
        return True
    line_end = text.find("\n", start) % (len(text) + 1)
    if "[" in text[:start] and is_array(text[:line_end]):
        return False
    try:
        _, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return error.pos > line_end and is_cut(error, text)
    except RecursionError:
        return False
    if "[" in text[:start] and "]" not in text[end:line_end]:
        return True
    return end > line_end or skip_between(text, end) < line_end


def is_object(line: bytes) -> bool:
    """Whether a line is one whole JSON object, with nothing but line ends behind it."""
    if not line.startswith(b"{"):
        return False
    try:
        text = line.decode().rstrip("\r")
        return DECODER.raw_decode(text)[1] == len(text)
    except (ValueError, RecursionError):
        return False


def is_array(line: str) -> bool:
    """Whether a line is one whole JSON array."""
    try:
        return isinstance(DECODER.decode(line), list)
    except (json.JSONDecodeError, RecursionError):
        return False


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


def split_document(blocks: Iterable[bytes], counter: Counter, list_key: str | None) -> Iterator[pa.RecordBatch]:
    """Batches of the objects of a whole file that is not one object a line."""
    return batches(open_rows(split_objects(decode_blocks(blocks)), list_key), counter)


def split_lists(lines: Iterable[pa.RecordBatch], counter: Counter, list_key: str | None) -> Iterator[pa.RecordBatch]:
    """Batches in which what was an array of objects on a line, or under the key, is a record for each object.

    An array that holds anything but objects stays a line, to be taken apart the slow way.
    """
    connection: duckdb.DuckDBPyConnection | None = None
    for batch in lines:
        if not may_hold_lists(batch, list_key):
            yield batch
            continue
        # An engine of its own: the one that lands is busy with asking for this batch.
        connection = connection or duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
        connection.register("batch", batch)
        opened = connection.execute(list_query(list_key)).to_arrow_table().combine_chunks()
        connection.unregister("batch")
        counter.records += opened.num_rows - batch.num_rows
        yield from opened.cast(batch.schema).to_batches()
    if connection:
        connection.close()


def may_hold_lists(batch: pa.RecordBatch, list_key: str | None) -> bool:
    """A quick look that passes most batches of plain lines by."""
    line = batch["line"]
    begins = pc.binary_slice(line.cast(pa.binary()), 0, 1)
    if pc.any(pc.is_in(begins, pa.array([b"[", b" ", b"\t"]))).as_py():
        return True
    # As a regular expression, and without the quote that begins every key: Arrow's plain search is ten times as slow.
    return list_key is not None and bool(pc.any(pc.match_substring_regex(line, f'{list_key}"')).as_py())


def list_query(list_key: str | None) -> str:
    """The SQL of `split_lists`, over a relation `batch` in which every line has one row."""
    elements = "case when starts_with(ltrim(line), '[') then try(json_transform(line, '[\"JSON\"]'))::varchar[] end"
    opened = f"""select record_number, flaw, raw, {either("elements", "line")}
        from (select *, {elements} as elements from batch)"""
    if list_key is None:
        return f"select record_number, number::integer as record_part, item as line, flaw, raw from ({opened})"
    return f"""
        select
            record_number,
            row_number() over (partition by record_number order by page_number, number)::integer as record_part,
            item as line, flaw, raw,
        from (
            select record_number, flaw, raw, page_number, {either("items", "page")}
            from (
                select record_number, flaw, raw, number as page_number, item as page, {items("item", list_key)} as items
                from ({opened})
            )
        )
        order by record_number, record_part"""


def items(line: str, list_key: str) -> str:
    """SQL for the list under the key of a JSON object, null where there is none."""
    key = f'"{list_key}"'
    found = f"try(json_transform(json_extract({line}, {text(f'$.{key}')}), '[\"JSON\"]'))::varchar[]"
    return f"case when contains({line}, {text(key)}) and starts_with({line}, '{{') then {found} end"


def either(elements: str, line: str) -> str:
    """SQL for the elements of a list of objects, or the line itself, as rows of `item` and `number` from 1."""
    chosen = (
        f"case when len(list_filter({elements}, lambda element: coalesce(element[1], '') <> '{{')) = 0"
        f" then {elements} else [{line}] end"
    )
    return f"unnest({chosen}) as item, generate_subscripts({chosen}, 1) as number"


def open_rows(rows: Iterable[Row], list_key: str | None) -> Iterator[Row]:
    """The slow ways' rows with the items of a list under the key as records, numbered anew within their line."""
    if list_key is None:
        yield from rows
        return
    last_number, last_part = 0, 0
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        query = f"select {either('items', 'page')} from (select $1 as page, {items('$1', list_key)} as items)"
        for number, _, page, flaw, raw in rows:
            found = [page]
            if page is not None and f'"{list_key}"' in page:
                found = [item for item, _ in connection.execute(query, [page]).fetchall()]
            for item in found:
                last_part = last_part + 1 if number == last_number else 1
                last_number = number
                yield number, last_part, item, flaw, raw


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
    """The objects of one line that is not one object."""
    is_empty = True
    for row in split_objects([line], number):
        is_empty = False
        yield row
    if is_empty and re.sub(r"\s", "", line) != "[]":
        yield number, 1, None, "not a JSON object: brackets around nothing", line.encode()
