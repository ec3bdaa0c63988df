"""Canonical events as CSV or Parquet: batches of `lines.SCHEMA` with the fields as text columns behind it."""

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from flows.landing.lines import (
    BOM,
    LINE_LIMIT_BYTES,
    SCHEMA,
    Counter,
    Oversize,
    cut_at_newlines,
    flawed_batch,
    mixed_batch,
    number_from,
    pc,
)

PARQUET_MAGIC = b"PAR1"
DELIMITERS = ",;\t"
REQUIRED = ("event_type", "event_at", "recipient")
BESIDE_QUOTES = {b"", b"\n", b"\r"}
RECORD_LINES = 1000
"""Lines after which a quote that was never closed is a damaged row, and not the begin of a long one."""

# its limit of 128 KiB would refuse long replies; what bounds a field is its line
csv.field_size_limit(LINE_LIMIT_BYTES)


class ForeignFileError(Exception):
    """A file of a kind that this source does not have; the message says what was found."""


@dataclass(frozen=True)
class Header:
    """The first line of a CSV file: its names in lower case, and which of them nobody knows."""

    delimiter: str
    names: tuple[str, ...]
    unknown: tuple[str, ...]


def read_header(head: bytes, fields: tuple[str, ...]) -> Header:
    """The header in a file's first block; raises `ForeignFileError` where the required names are missing."""
    line = head.removeprefix(BOM).split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=line.count)
    names = tuple(name.strip().lower() for name in cut_header(line, delimiter))
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ForeignFileError(
            f"neither JSON lines nor Parquet nor CSV with a header that names {', '.join(REQUIRED)} "
            f"(missing: {', '.join(missing)})"
        )
    twice = sorted({name for name in names if name in fields and names.count(name) > 1})
    if twice:
        raise ForeignFileError(f"the CSV header names {', '.join(twice)} twice")
    return Header(delimiter, names, tuple(name for name in names if name not in fields))


def cut_header(line: str, delimiter: str) -> list[str]:
    """The words of a first line; none where it is no CSV (a carriage return alone, as UTF-16 read as UTF-8 has)."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def table_schema(fields: tuple[str, ...]) -> pa.Schema:
    """`lines.SCHEMA` with the fields behind it."""
    return pa.schema([*SCHEMA, *((name, pa.string()) for name in fields)])


def widen(batch: pa.RecordBatch, values: Mapping[str, "pa.Array[Any]"], fields: tuple[str, ...]) -> pa.RecordBatch:
    """A batch of `lines.SCHEMA` with field columns added, null where there is none."""
    count = batch.num_rows
    columns = [values.get(name, pa.nulls(count, pa.string())) for name in fields]
    return pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=table_schema(fields))


def split_csv(
    blocks: Iterable[bytes], header: Header, fields: tuple[str, ...], counter: Counter, *, is_cut: bool = False
) -> Iterator[pa.RecordBatch]:
    """Rows of a CSV file below its header, each with the number of the line it begins on.

    A row is rejected whole where it has more or fewer fields than the header or its quotes do not match, and in a file
    that `is_cut` a last row without an end, since an address that lacks its last letters may be another's. Blocks whose
    quotes stand as RFC 4180 has them hold a row a line, and are parsed by Arrow; others, where a quoted field may go on
    in the next line, row by row.
    """
    rows = CsvRows(header, fields)
    number = 1
    for piece in cut_rows(blocks, is_cut=is_cut):
        if isinstance(piece, Oversize | Unfinished):
            batches = [*rows.finish(), reject_line(number, piece, fields)]
            number += 1
        else:
            body = piece
            count = piece.count(b"\n") + (not piece.endswith(b"\n"))
            start = number
            if number == 1:
                body = piece.partition(b"\n")[2]
                start = 2
            number += count
            batches = list(rows.take(body, start)) if body else []
        for batch in batches:
            counter.records += batch.num_rows
            if batch.num_rows:
                yield batch
    for batch in rows.finish():
        counter.records += batch.num_rows
        yield batch


@dataclass
class Unfinished:
    """A last line that the file's cut has left without an end."""

    head: bytes


def cut_rows(blocks: Iterable[bytes], *, is_cut: bool) -> Iterator[bytes | Oversize | Unfinished]:
    """As `cut_at_newlines`; of a file that was cut, what stands behind the last line end comes apart."""
    for piece in cut_at_newlines(blocks):
        if is_cut and isinstance(piece, bytes) and not piece.endswith(b"\n"):
            yield Unfinished(piece)
        else:
            yield piece


def reject_line(number: int, line: Oversize | Unfinished, fields: tuple[str, ...]) -> pa.RecordBatch:
    """The reject of a line that is no row: too long to be kept, or cut."""
    flaw = "row not finished: the file ends inside it"
    if isinstance(line, Oversize):
        flaw = f"longer than 64 MiB ({line.length} bytes): its first MiB is kept"
    return widen(flawed_batch(number, flaw, line.head), {}, fields)


class CsvRows:
    """Rows of consecutive blocks, remembering a quoted field that a block leaves open."""

    def __init__(self, header: Header, fields: tuple[str, ...]) -> None:
        self.header = header
        self.fields = fields
        self.held: list[tuple[int, bytes]] = []
        # Unknown names may repeat; Arrow wants each once.
        self.columns = [name if name in fields else f"_{place}" for place, name in enumerate(header.names)]

    def take(self, body: bytes, number: int) -> Iterator[pa.RecordBatch]:
        """The rows of lines that begin at the line `number`."""
        text = body.replace(b"\r\n", b"\n")
        text = text if text.endswith(b"\n") else text + b"\n"
        if not self.held and (batch := self._parse_at_once(text, number)) is not None:
            yield batch
            return
        self.held += [(number + offset, line) for offset, line in enumerate(text[:-1].split(b"\n"))]
        yield from self._parse_held(is_last=False)

    def finish(self) -> Iterator[pa.RecordBatch]:
        yield from self._parse_held(is_last=True)

    def _parse_at_once(self, text: bytes, number: int) -> pa.RecordBatch | None:
        """A block whose lines are its rows; None where that is not certain."""
        if b"\0" in text or b"\r" in text or not self._is_regular(text):
            return None
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            return None
        lines: pa.Array[Any] = pc.split_pattern(pa.array([decoded[:-1]]), "\n").flatten()
        numbers = number_from(number, len(lines))
        filled = pc.not_equal(pc.utf8_trim_whitespace(lines), "")
        if not pc.all(filled).as_py():
            lines, numbers = lines.filter(filled), numbers.filter(filled)
            text = b"".join(f"{line}\n".encode() for line in lines.to_pylist())
        if not len(lines):
            return empty_batch(self.fields)
        wrong: list[tuple[int, str]] = []

        def note(row: pacsv.InvalidRow) -> Literal["skip"]:
            wrong.append(((row.number or 0) - 1, self._wrong_count(row.actual_columns)))
            return "skip"

        table = pacsv.read_csv(
            io.BytesIO(text),
            read_options=pacsv.ReadOptions(column_names=self.columns, use_threads=False, block_size=len(text) + 1),
            parse_options=pacsv.ParseOptions(delimiter=self.header.delimiter, invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.string()),
                include_columns=[name for name in self.columns if name in self.fields],
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        places = [place for place, _ in wrong]
        flaws = pa.array([flaw for _, flaw in wrong], pa.string())
        is_wrong = pc.is_in(number_from(0, len(lines)), pa.array(places, pa.int64()))
        is_right = pc.invert(is_wrong)
        if table.num_rows + len(wrong) != len(lines):
            return None  # Arrow took two lines for one row, or passed over one: read them one by one
        good = self._text_rows(numbers.filter(is_right), lines.filter(is_right), None)
        values = {name: table.column(name).combine_chunks() for name in table.column_names}
        good = widen(good, {name: as_array(column) for name, column in values.items()}, self.fields)
        if not wrong:
            return good
        bad = widen(self._text_rows(numbers.filter(is_wrong), lines.filter(is_wrong), flaws), {}, self.fields)
        return pa.Table.from_batches([good, bad]).combine_chunks().to_batches()[0]

    def _is_regular(self, text: bytes) -> bool:
        """Whether no quoted value holds a line's end and every quote stands beside a delimiter or another."""
        pieces = text.split(b'"')
        if len(pieces) == 1:
            return True
        beside = BESIDE_QUOTES | {self.header.delimiter.encode()}
        return (
            len(pieces) % 2 == 1
            and b"\n" not in b"".join(pieces[1::2])
            and {piece[-1:] for piece in pieces[:-1:2]} <= beside
            and {piece[:1] for piece in pieces[2::2]} <= beside
        )

    def _text_rows(
        self, numbers: "pa.Array[Any]", lines: "pa.Array[Any]", flaws: "pa.Array[Any] | None"
    ) -> pa.RecordBatch:
        count = len(numbers)
        parts = pa.repeat(pa.scalar(1, pa.int32()), count)
        raw = pa.nulls(count, pa.binary()) if flaws is None else lines.cast(pa.binary())
        flaws = pa.nulls(count, pa.string()) if flaws is None else flaws
        return pa.RecordBatch.from_arrays([numbers, parts, lines, flaws, raw], schema=SCHEMA)

    def _wrong_count(self, count: int) -> str:
        return f"{count} fields where the header has {len(self.header.names)}"

    def _parse_held(self, *, is_last: bool) -> Iterator[pa.RecordBatch]:
        """Rows of the held lines, one by one; what may be the begin of a row stays held, except in the last call."""
        position = 0
        good: list[tuple[int, str, list[str]]] = []
        while position < len(self.held):
            number, line = self.held[position]
            if not line.strip():
                position += 1
                continue
            length = self._find_row(position)
            if length is None and not is_last:
                break
            record = b"\n".join(raw for _, raw in self.held[position : position + (length or 1)])
            values = None if length is None else self._parse_row(record)
            if values is None and length and length > 1:
                length, record = 1, line
            if isinstance(values, list):
                good.append((number, record.decode(), values))
            else:
                if good:
                    yield self._rows(good)
                    good = []
                flaw = values or "quotes do not match"
                checked = mixed_batch(record + b"\n", number)
                if checked.num_rows and (found := checked.column("flaw")[0].as_py()):
                    flaw = found
                yield widen(flawed_batch(number, flaw, record), {}, self.fields)
            position += length or 1
        self.held = self.held[position:]
        if good:
            yield self._rows(good)

    def _find_row(self, position: int) -> int | None:
        """How many lines the row takes that begins at a position; None where its quotes are still open at the end."""
        quotes = 0
        for length, (_, line) in enumerate(self.held[position : position + RECORD_LINES], 1):
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                return length
        return 1 if len(self.held) - position >= RECORD_LINES else None

    def _parse_row(self, record: bytes) -> list[str] | str | None:
        """A row's values; why it has none; or None where its quotes do not match."""
        if b"\0" in record:
            return "holds a NUL byte"
        try:
            rows = list(csv.reader([record.decode()], delimiter=self.header.delimiter, strict=True))
        except UnicodeDecodeError as error:
            return f"not UTF-8: byte 0x{record[error.start]:02x} at position {error.start + 1}"
        except csv.Error:
            return None
        values = rows[0]
        return values if len(values) == len(self.header.names) else self._wrong_count(len(values))

    def _rows(self, rows: list[tuple[int, str, list[str]]]) -> pa.RecordBatch:
        numbers = pa.array([number for number, _, _ in rows], pa.int64())
        batch = self._text_rows(numbers, pa.array([record for _, record, _ in rows], pa.string()), None)
        values = {
            name: pa.array([row[place] or None for _, _, row in rows], pa.string())
            for place, name in enumerate(self.header.names)
            if name in self.fields
        }
        return widen(batch, values, self.fields)


def as_array(column: "pa.Array[Any] | pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    """One array, whichever of the two Arrow gave."""
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def empty_batch(fields: tuple[str, ...]) -> pa.RecordBatch:
    """Give a batch without rows."""
    return pa.RecordBatch.from_pylist([], schema=table_schema(fields))


def split_parquet(source: BinaryIO, fields: tuple[str, ...], counter: Counter) -> Iterator[pa.RecordBatch]:
    """Rows of a Parquet file, numbered from 1, every value as text (times in ISO 8601, UTC)."""
    try:
        with pq.ParquetFile(source) as file:
            by_name = {name.lower(): name for name in file.schema_arrow.names}
            missing = [name for name in REQUIRED if name not in by_name]
            if missing:
                raise ForeignFileError(f"a Parquet file without the columns {', '.join(missing)}")
            present = {name: by_name[name] for name in fields if name in by_name}
            for batch in file.iter_batches(batch_size=1 << 15, columns=list(present.values())):
                numbers = number_from(counter.records + 1, batch.num_rows)
                counter.records += batch.num_rows
                values = {name: to_text(batch.column(column)) for name, column in present.items()}
                nothing = pa.nulls(batch.num_rows)
                parts = pa.repeat(pa.scalar(1, pa.int32()), batch.num_rows)
                bare = [numbers, parts, *(nothing.cast(kind.type) for kind in list(SCHEMA)[2:])]
                yield widen(pa.RecordBatch.from_arrays(bare, schema=SCHEMA), values, fields)
    except (pa.ArrowException, OSError) as error:
        raise ForeignFileError(f"a Parquet file that cannot be read: {error}") from error


def to_text(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """A column as text: whole numbers without a fraction even where the writer made them floats (pandas, for nulls)."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        # A zoned timestamp is kept in UTC; one without a zone is taken for it.
        microseconds = column.cast(pa.timestamp("us", kind.tz), safe=False)
        instants = microseconds.cast(pa.int64()).cast(pa.timestamp("us"))
        column = pc.binary_join_element_wise(pc.strftime(instants, "%Y-%m-%dT%H:%M:%S"), "Z", "")
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), None, column)
        with contextlib.suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64())
    return column.cast(pa.string())
