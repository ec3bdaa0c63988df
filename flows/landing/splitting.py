"""How a file's content becomes records: chosen by its first block, the same for all files of a pack."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, BinaryIO

import numpy
import pyarrow as pa

from flows.landing import accounting, dsn, events, json_text, mail, powermta, tables
from flows.landing.content import BLOCK_BYTES, Reading
from flows.landing.inbox import Arrival
from flows.landing.lines import BOM, SCHEMA, Counter, flawed_batch, pc, split_lines, text_batch
from flows.landing.source import Source
from flows.landing.tables import ForeignFileError

PLACE_BITS = 40
"""In a stream of several files the bits of `record_number` from here on are the file's place among them."""
NUMBER_MASK = (1 << PLACE_BITS) - 1

SHOWN_NAMES = 20
SHOWN_CHARACTERS = 60
"""How many names of unknown columns are told, and how much of each."""

GATHERED_ROWS = 16384
GATHERED_BYTES = 4 << 20
"""Small batches are put together until they hold so much: each costs the engine the same, however small it is."""

PARSED_BYTES = 512 << 10
"""JSON is given to the engine in batches of so many bytes: it parses a batch, up to 2,048 rows of it, as a whole into
several times its size, and then takes the values out. Smaller ones stay near to the processor, which saves a little.
A file that fills one is put together with no others, which would copy it once more."""

KNOWN_KINDS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (or a file that is one inside, such as XLSX): take its files out",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: take its files out",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x7fELF": "a program",
    b"\xff\xfe": "UTF-16; convert to UTF-8",
    b"\xfe\xff": "UTF-16; convert to UTF-8",
    b"\x04\x22\x4d\x18": "lz4-compressed data; decompress it or use zstd, gzip, bz2 or xz",
}


@dataclass(frozen=True)
class RawFile:
    """A file that was read once: for its digest, and where it is small for its blocks too."""

    arrival: Arrival
    reading: Reading
    head: bytes
    """The first block."""
    blocks: Callable[[], Iterator[bytes]]
    anchor_date: date
    file: BinaryIO
    """For what is not read as a stream: the file that was opened, whatever its name leads to by now."""


Splitter = Callable[[Iterable[bytes], bool], Iterator[pa.RecordBatch]]
"""Blocks to batches; the flag says that it is the second look, for what is rejected."""


@dataclass(frozen=True)
class Splitting:
    """How a file's content becomes batches of one schema. Mail has no `split`: see `split_files`.

    Files can be landed together if their splittings are equal in what is compared.
    """

    source: Source
    schema: pa.Schema = field(compare=False)
    split: Splitter | None = field(compare=False)
    is_by_line: bool = False
    anchor_date: date | None = None
    path: str | None = None
    """Of a file that is not read as a stream, and therefore lands alone."""
    message: str | None = field(default=None, compare=False)


def choose_splitting(source: Source, raw: RawFile) -> Splitting:
    """Choose by the first block; `ForeignFileError` if the source has no such files."""
    head, fields, is_cut = raw.head.removeprefix(BOM), source.fields, not raw.reading.is_complete
    if source.name == "events" and head.startswith(tables.PARQUET_MAGIC):
        if raw.reading.compression != "none":
            raise ForeignFileError(f"a Parquet file inside {raw.reading.compression}: decompress it")

        def split_parquet(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
            return tables.split_parquet(raw.file, fields, Counter())

        return Splitting(events.TABLE, tables.table_schema(fields), split_parquet, path=str(raw.arrival.path))
    has_text = bool(head) and not head.isspace()  # other than `strip`, which copies the block
    kind = next((kind for magic, kind in KNOWN_KINDS.items() if head.startswith(magic)), None)
    if kind:
        raise ForeignFileError(kind)
    if source.form == "mail":
        if has_text and not mail.is_mail(head):
            raise ForeignFileError("neither a mail nor a mailbox, it begins with no header field: " + show(head))
        return Splitting(source, dsn.BATCH_SCHEMA, None)
    if source.form == "lines":
        if has_text and not re.search(source.line_prefix.encode(), head, re.MULTILINE):
            raise ForeignFileError(
                f"no line of its first {BLOCK_BYTES >> 20} MiB begins like {source.line_kind}: " + show(head)
            )

        def split_log(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
            return split_lines(blocks, Counter(), source.is_finished)

        anchor_date = raw.anchor_date if "anchor_date" in source.columns else None
        return Splitting(source, SCHEMA, split_log, is_by_line=True, anchor_date=anchor_date)
    if source is powermta.SOURCE:
        if has_text:
            accounting.read_header(head, fields)

        def split_accounting(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
            # rows are rejected in the second look, and only there their text is wanted
            return accounting.split_accounting(blocks, fields, Counter(), with_lines=is_second, is_cut=is_cut)

        return Splitting(source, tables.table_schema(fields), split_accounting)
    if has_text and not re.search(rb"^\s*[\[{]", head, re.MULTILINE):
        if source.name == "events" and b"\0" not in head:
            header = tables.read_header(head, fields)

            def split_csv(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
                return tables.split_csv(blocks, header, fields, Counter(), is_cut=is_cut)

            shown = ", ".join(name[:SHOWN_CHARACTERS] for name in header.unknown[:SHOWN_NAMES])
            more = f" and {len(header.unknown) - SHOWN_NAMES} more" if len(header.unknown) > SHOWN_NAMES else ""
            message = f"unknown columns passed over: {shown}{more}" if shown else None
            return Splitting(events.TABLE, tables.table_schema(fields), split_csv, message=message)
        raise ForeignFileError(f"no line of its first {BLOCK_BYTES >> 20} MiB begins like JSON: " + show(head))
    if json_text.is_document(head):

        def split_document(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
            return json_text.split_document(blocks, Counter(), source.list_key)

        return Splitting(source, SCHEMA, split_document)
    return Splitting(source, SCHEMA, lambda blocks, is_second: split_lines(blocks, Counter()), is_by_line=True)


def refuse(source: Source, error: ForeignFileError) -> Splitting:
    """The splitting of a file that the source has no use for: it raises the error."""

    def split_none(blocks: Iterable[bytes], is_second: bool) -> Iterator[pa.RecordBatch]:
        raise error

    has_fields = source.form in ("mail", "table")
    return Splitting(source, tables.table_schema(source.fields) if has_fields else SCHEMA, split_none)


def split_files(
    splittings: list[Splitting], files: list[RawFile], places: Sequence[int], mailbox: dsn.Mailbox, *, is_second: bool
) -> Iterator[pa.RecordBatch]:
    """The records of some of files of equal splittings as one stream, with each file's place above its numbers."""
    first = splittings[0]
    if first.split is None:
        yield from mailbox.batches(
            (place << PLACE_BITS, files[place].blocks(), not files[place].reading.is_complete) for place in places
        )
        return
    found: Iterator[pa.RecordBatch]
    if len(files) == 1:
        found = first.split(files[0].blocks(), is_second)
    elif first.is_by_line:
        found = split_lines_together(files, places, first.source.is_finished)
    else:
        found = gather(
            add_place(batch, place)
            for place in places
            if (split := splittings[place].split)
            for batch in split(files[place].blocks(), is_second)
        )
    if first.source.form == "json" and first.is_by_line:
        found = json_text.split_lists(found, Counter(), first.source.list_key)
    yield from found


def split_lines_together(
    files: list[RawFile], places: Sequence[int], is_finished: Callable[[bytes], bool]
) -> Iterator[pa.RecordBatch]:
    """What `lines.split_lines` gives for each of some files; of small ones in few batches, which cost less.

    Others are left where they lie: what they hold is copied no more often than has to be.
    """
    held: list[bytes] = []
    numbers: list[Any] = []
    size = 0

    def split() -> pa.RecordBatch:
        batch, _ = text_batch(b"".join(held), 0)
        return set_numbers(batch, pa.array(numpy.concatenate(numbers)).take(batch["record_number"]))

    for place in places:
        raw = files[place]
        if raw.reading.content_bytes >= PARSED_BYTES:
            for batch in split_lines(raw.blocks(), Counter(), is_finished):
                yield add_place(batch, place)
            continue
        before = place << PLACE_BITS
        text = b"".join(raw.blocks()).removeprefix(BOM)
        if text and not text.endswith(b"\n"):
            end = text.rfind(b"\n") + 1
            if is_finished(text[end:]):
                text += b"\n"
            else:
                number = before + text.count(b"\n") + 1
                yield flawed_batch(number, "line not finished: the file ends inside it", text[end:])
                text = text[:end]
        held.append(text)
        numbers.append(numpy.arange(before + 1, before + 1 + count_lines(text)))
        size += len(text)
        if size >= GATHERED_BYTES:
            yield split()
            held, numbers, size = [], [], 0
    if size:
        yield split()


def count_lines(text: bytes) -> int:
    """How many lines end in a text; `bytes.count` takes three times as long."""
    return int(numpy.count_nonzero(numpy.frombuffer(text, numpy.uint8) == ord("\n")))


def add_place(batch: pa.RecordBatch, place: int) -> pa.RecordBatch:
    """A batch of the file at a place."""
    return set_numbers(batch, pc.add(batch["record_number"], place << PLACE_BITS)) if place else batch


def set_numbers(batch: pa.RecordBatch, numbers: "pa.Array[Any]") -> pa.RecordBatch:
    """A batch with other record numbers."""
    position = batch.schema.get_field_index("record_number")
    return batch.set_column(position, batch.schema.field(position), numbers)


def gather(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= GATHERED_ROWS or size >= GATHERED_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, rows, size = [], 0, 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def split_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about `PARSED_BYTES`, not copied."""
    for batch in batches:
        rows = max(1, batch.num_rows * PARSED_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def count_places(numbers: "pa.Array[Any]") -> dict[int, int]:
    """How many records of which file some numbers of a stream are."""
    counts = pc.value_counts(pc.shift_right(numbers, PLACE_BITS))
    return dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))


def show(head: bytes) -> str:
    """How a text begins, harmless to print."""
    return ascii(head.lstrip()[:40].decode("utf-8", "replace"))
