"""Blocks of text to numbered lines in Arrow, with no loop over lines except in a block that holds bad bytes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # the published stubs are of an older pyarrow and refuse plain calls

COLUMNS: list[tuple[str, pa.DataType]] = [
    ("record_number", pa.int64()),
    ("record_part", pa.int32()),
    ("line", pa.string()),
    ("flaw", pa.string()),
    ("raw", pa.binary()),
]
SCHEMA = pa.schema(COLUMNS)
"""A record on its way: `line` where it is text; `flaw` (the reason) and `raw` (its bytes) where it is not even that."""

LINE_LIMIT_BYTES = 64 << 20
KEPT_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


@dataclass
class Counter:
    """Records given out by a splitter; the number that `landed + rejected` is held against."""

    records: int = 0


def split_lines(
    blocks: Iterable[bytes], counter: Counter, is_finished: Callable[[bytes], bool] = lambda line: True
) -> Iterator[pa.RecordBatch]:
    """Record batches of `SCHEMA`, one for each block, numbered from 1; blank lines are numbered but not given.

    CRLF and a byte order mark are taken off. A line above `LINE_LIMIT_BYTES` is rejected with its first
    `KEPT_BYTES`, and so is one that is not UTF-8 or holds a NUL. A last line without a newline is given only if
    `is_finished` says that its writer had come to its end.
    """
    number = 1
    for piece in cut_at_newlines(blocks):
        if isinstance(piece, Oversize):
            batch = flawed_batch(
                number, f"longer than 64 MiB ({piece.length} bytes): its first MiB is kept", piece.head
            )
            number += 1
        elif not piece.endswith(b"\n") and not is_finished(piece):
            batch = flawed_batch(number, "line not finished: the file ends inside it", piece)
        else:
            batch, count = text_batch(piece if piece.endswith(b"\n") else piece + b"\n", number)
            number += count
        counter.records += batch.num_rows
        if batch.num_rows:
            yield batch


@dataclass
class Oversize:
    """A line too long to be kept: how it begins, and its length in bytes."""

    head: bytes
    length: int


def cut_at_newlines(blocks: Iterable[bytes]) -> Iterator[bytes | Oversize]:
    """Blocks that end with a newline (the last one perhaps without), and lines too long for one."""
    pending: list[bytes] = []
    held = 0
    oversize: Oversize | None = None
    first = True
    for raw_block in blocks:
        block = raw_block.removeprefix(BOM) if first else raw_block
        first = False
        if oversize:
            newline = block.find(b"\n") + 1
            oversize.length += newline - 1 if newline else len(block)
            if not newline:
                continue
            yield oversize
            oversize, block = None, block[newline:]
        end = block.rfind(b"\n") + 1
        if not end:
            pending.append(block)
            held += len(block)
            if held > LINE_LIMIT_BYTES:
                oversize = Oversize(b"".join(pending)[:KEPT_BYTES], held)
                pending, held = [], 0
            continue
        if held:
            newline = block.find(b"\n")
            if held + newline > LINE_LIMIT_BYTES:
                yield Oversize((b"".join(pending) + block[:KEPT_BYTES])[:KEPT_BYTES], held + newline)
                pending, block, end = [], block[newline + 1 :], end - newline - 1
        if end:
            yield b"".join([*pending, memoryview(block)[:end]])
        pending, held = [block[end:]], len(block) - end
    if oversize:
        yield oversize
    elif held:
        yield b"".join(pending)


def text_batch(block: bytes, number: int) -> tuple[pa.RecordBatch, int]:
    """Take apart a block that ends with a newline; bad lines come as flawed. Gives its count of lines too."""
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if b"\0" in text or (whole := as_text(text, len(text) - 1)) is None:
        return mixed_batch(text, number), text.count(b"\n")
    lines = pc.split_pattern(whole, "\n").flatten()
    count = len(lines)
    batch = line_batch(number_from(number, count), lines)
    # Trimming every line costs more than all the rest, so that only the begin of each is looked at first.
    begins = pc.binary_slice(lines.cast(pa.binary()), 0, 1)
    if pc.any(pc.is_in(begins, pa.array([b"", b" ", b"\t"]))).as_py():
        batch = batch.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))
    return batch, count


def as_text(block: bytes, length: int) -> "pa.Array[Any] | None":
    """The begin of a block, of so many bytes, as the one value of an array, not copied; None where it is not UTF-8."""
    ends = pa.array([0, length], pa.int32()).buffers()[1]
    whole: pa.Array[Any] = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(block)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return whole


def number_from(start: int, count: int) -> "pa.Array[Any]":
    """Give `count` consecutive record numbers."""
    numbers: pa.Array[Any] = pa.arange(start, start + count)  # type: ignore[attr-defined]
    return numbers


def line_batch(numbers: "pa.Array[Any]", lines: "pa.Array[Any]") -> pa.RecordBatch:
    """Lines that are text, each a record of its own."""
    count = len(lines)
    parts = pa.repeat(pa.scalar(1, pa.int32()), count)
    return pa.RecordBatch.from_arrays(
        [numbers, parts, lines, pa.nulls(count, pa.string()), pa.nulls(count, pa.binary())], schema=SCHEMA
    )


def mixed_batch(text: bytes, number: int) -> pa.RecordBatch:
    """The slow way, for a block with bad bytes in it: each line judged alone."""
    rows = []
    for offset, raw in enumerate(text.removesuffix(b"\n").split(b"\n")):
        flaw = None
        if b"\0" in raw:
            flaw = "holds a NUL byte"
        else:
            try:
                if not raw.decode().strip():
                    continue
            except UnicodeDecodeError as error:
                flaw = f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1}"
        rows.append((number + offset, 1, None if flaw else raw.decode(), flaw, raw if flaw else None))
    return rows_batch(rows)


def rows_batch(rows: list[tuple[int, int, str | None, str | None, bytes | None]]) -> pa.RecordBatch:
    """A batch of `SCHEMA` from rows in its order, for the slow ways."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, kind.type) for values, kind in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def flawed_batch(number: int, flaw: str, raw: bytes) -> pa.RecordBatch:
    """One record that is rejected before anybody parsed it."""
    return rows_batch([(number, 1, None, flaw, raw)])
