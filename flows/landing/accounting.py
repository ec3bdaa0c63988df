"""PowerMTA's accounting CSV to Arrow: columns by name, a header that comes again, and columns that nobody foresaw."""

import json
import re
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv

from flows.landing.lines import BOM, Counter, Oversize, as_text, number_from, pc
from flows.landing.tables import (
    CsvRows,
    ForeignFileError,
    Header,
    Unfinished,
    as_array,
    cut_header,
    cut_rows,
    reject_line,
    widen,
)

REST = "headers"
"""The field that holds all columns but the known ones, as a JSON object."""

DELIMITERS = ",;\t"
BESIDE_NAME = b',;\t\r\n" '
NAME = re.compile(r"[A-Za-z][\w.: -]*")
TO_ESCAPE = bytes([*range(32), ord('"'), ord("\\")])
PARSERS = 2
"""Threads that parse; more would wait for the engine, which has the other half of the work."""


def parse_header(line: bytes, fields: tuple[str, ...]) -> Header | None:
    """The header that a line is, or None: it names `type` and another field, in whatever order and case.

    The names come as the vendor spells them. Of a column that is there twice the second is called `name:2`, and is
    kept with the unknown ones.
    """
    words = line.removeprefix(BOM).rstrip(b"\r").decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=words.count)
    spelled = {field.lower(): field for field in fields if field != REST}
    found = [name.strip() for name in cut_header(words, delimiter)]
    names: list[str] = []
    seen: Tally[str] = Tally()
    for name in found:
        if not NAME.fullmatch(name):
            return None
        known = spelled.get(name.lower(), name)
        seen[known.lower()] += 1
        names.append(known if seen[known.lower()] == 1 else f"{known}:{seen[known.lower()]}")
    known_names = [name for name in names if name in spelled.values()]
    if "type" not in known_names or len(known_names) < 2:
        return None
    return Header(delimiter, tuple(names), tuple(sorted(name for name in names if name not in known_names)))


def read_header(head: bytes, fields: tuple[str, ...]) -> Header:
    """The header in a file's first line; raises `ForeignFileError` where it is none."""
    header = parse_header(head.removeprefix(BOM).split(b"\n", 1)[0], fields)
    if header is None:
        raise ForeignFileError("its first line is no header of an accounting file: it does not name type, rcpt …")
    return header


def split_accounting(
    blocks: Iterable[bytes], fields: tuple[str, ...], counter: Counter, *, with_lines: bool, is_cut: bool = False
) -> Iterator[pa.RecordBatch]:
    """Rows of an accounting file, each with the number of the line it begins on; headers are no rows.

    A pipe writes its header whenever it starts, maybe with other columns; a row that it left unfinished before that is
    rejected. Rows are judged and parsed as `tables.CsvRows` does. `with_lines` gives each row's text beside its values.
    `is_cut` is as for `tables.split_csv`.
    """
    rows: AccountingRows | None = None
    with ThreadPoolExecutor(PARSERS) as pool:
        for part in ahead(pool, take_parts(blocks, fields, with_lines=with_lines, is_cut=is_cut)):
            batches: list[pa.RecordBatch] = []
            if part.rows is not rows:
                batches += rows.finish() if rows else ()
                rows = part.rows
            if isinstance(part.text, Oversize | Unfinished):
                batches += [*(rows.finish() if rows else ()), reject_line(part.number, part.text, fields)]
            elif rows:
                batches += rows.take_parsed(part.text, part.number, part.batch)
            for batch in batches:
                counter.records += batch.num_rows
                if batch.num_rows:
                    yield batch
    for batch in rows.finish() if rows else ():
        counter.records += batch.num_rows
        yield batch


@dataclass
class Part:
    """What stands below one header in one block, or a line too long; `batch` is there once it was parsed at once."""

    rows: "AccountingRows | None"
    text: bytes | Oversize | Unfinished
    number: int
    batch: pa.RecordBatch | None = None

    def parse(self) -> "Part":
        if self.rows and isinstance(self.text, bytes):
            self.batch = self.rows.parse_regular(self.text, self.number)
        return self


def ahead(pool: ThreadPoolExecutor, parts: Iterator[Part]) -> Iterator[Part]:
    """The parts in order, the next ones being parsed meanwhile: Arrow's parser lets other threads run."""
    waiting: deque[Future[Part]] = deque()
    for part in parts:
        waiting.append(pool.submit(part.parse))
        if len(waiting) > PARSERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def take_parts(blocks: Iterable[bytes], fields: tuple[str, ...], *, with_lines: bool, is_cut: bool) -> Iterator[Part]:
    """A file's blocks cut at its headers."""
    rows: AccountingRows | None = None
    number = 1
    word = b"type"
    for piece in cut_rows(blocks, is_cut=is_cut):
        if isinstance(piece, Oversize | Unfinished):
            yield Part(rows, piece, number)
            number += 1
            continue
        if rows is None and (found := re.search(rb"\btype\b", piece, re.IGNORECASE)):
            word = found[0]
        for header, body in cut_at_headers(piece, fields, word):
            if header:
                rows = AccountingRows(header, fields, with_lines=with_lines)
                number += 1
            else:
                yield Part(rows, body, number)
                number += body.count(b"\n") + (not body.endswith(b"\n"))


def cut_at_headers(piece: bytes, fields: tuple[str, ...], word: bytes) -> Iterator[tuple[Header | None, bytes]]:
    """A block's headers and, between them, what is none. `word` is `type` as the first header spells it."""
    start = 0
    place = piece.find(word)
    while place >= 0:
        begin = piece.rfind(b"\n", 0, place) + 1
        end = piece.find(b"\n", place) + 1 or len(piece)
        beside = piece[max(place - 1, 0) : place] + piece[place + len(word) : place + len(word) + 1]
        place = piece.find(word, place + len(word))
        if begin < start or beside.strip(BESIDE_NAME):
            continue
        header = parse_header(piece[begin:end].rstrip(b"\r\n"), fields)
        if header is None:
            continue
        if begin > start:
            yield None, piece[start:begin]
        yield header, b""
        start = end
    if start < len(piece):
        yield None, piece[start:]


class AccountingRows(CsvRows):
    """Rows below one header, all columns kept."""

    def __init__(self, header: Header, fields: tuple[str, ...], *, with_lines: bool) -> None:
        super().__init__(header, fields)
        self.columns = list(header.names)
        self.with_lines = with_lines

    def take_parsed(self, text: bytes, number: int, batch: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        """Rows of a block: as they were parsed at once; or one by one where that failed, or a row before is open."""
        if batch is not None and not self.held:
            yield batch
        else:
            yield from self.take(text, number)

    def _parse_at_once(self, text: bytes, number: int) -> pa.RecordBatch | None:
        return None  # it was tried before

    def parse_regular(self, text: bytes, number: int) -> pa.RecordBatch | None:
        """A block whose lines are its rows; None where that is not certain, or a row is not as RFC 4180 has it."""
        if b"\0" in text or text.count(b"\r") != text.count(b"\r\n") or not self._is_regular(text):
            return None
        if as_text(text, len(text)) is None:
            return None  # Arrow would print an error of its own for each wrong row of such a block
        wrong: list[tuple[int, str, str]] = []

        def note(row: pacsv.InvalidRow) -> Literal["skip"]:
            wrong.append(((row.number or 0) - 1, self._wrong_count(row.actual_columns), row.text))
            return "skip"

        try:
            table = pacsv.read_csv(
                pa.BufferReader(text),  # type: ignore[arg-type]  # taken, though the published stubs refuse it
                read_options=pacsv.ReadOptions(column_names=self.columns, use_threads=False, block_size=len(text) + 1),
                parse_options=pacsv.ParseOptions(delimiter=self.header.delimiter, invalid_row_handler=note),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pa.string()), null_values=[], strings_can_be_null=False
                ),
            )
        except pa.ArrowException:
            return None
        count = text.count(b"\n") + (not text.endswith(b"\n"))
        if table.num_rows + len(wrong) != count:
            return None  # a blank line, or a quote that Arrow saw otherwise
        columns = {name: single_array(table.column(name)) for name in self.columns}
        numbers = number_from(number, count)
        lines: pa.Array[Any] = pa.nulls(count, pa.string())
        if self.with_lines:
            lines = pc.split_pattern(pa.array([text.removesuffix(b"\n").decode()]), "\n").flatten()
            lines = pc.utf8_rtrim(lines, "\r")
        if not wrong:
            return self._widen(self._text_rows(numbers, lines, None), columns)
        is_wrong = pc.is_in(number_from(0, count), pa.array([place for place, _, _ in wrong], pa.int64()))
        is_right = pc.invert(is_wrong)
        good = self._widen(self._text_rows(numbers.filter(is_right), lines.filter(is_right), None), columns)
        flaws, records = (pa.array([row[item] for row in wrong], pa.string()) for item in (1, 2))
        bad = widen(self._text_rows(numbers.filter(is_wrong), records, flaws), {}, self.fields)
        return pa.Table.from_batches([good, bad]).combine_chunks().to_batches()[0]

    def _rows(self, rows: list[tuple[int, str, list[str]]]) -> pa.RecordBatch:
        numbers = pa.array([number for number, _, _ in rows], pa.int64())
        lines = pa.array([record for _, record, _ in rows], pa.string())
        columns: dict[str, pa.Array[Any]] = {
            name: pa.array([row[place] for _, _, row in rows], pa.string()) for place, name in enumerate(self.columns)
        }
        return self._widen(self._text_rows(numbers, lines, None), columns)

    def _widen(self, batch: pa.RecordBatch, columns: dict[str, "pa.Array[Any]"]) -> pa.RecordBatch:
        rest = {name: columns[name] for name in self.header.unknown}
        return widen(batch, columns | ({REST: to_json(rest)} if rest else {}), self.fields)


def single_array(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    """A column as one array, not copied where it is one already."""
    return column.chunks[0] if column.num_chunks == 1 else as_array(column)


def to_json(columns: dict[str, "pa.Array[Any]"]) -> "pa.Array[Any]":
    """A JSON object a row, of the values that are not empty; null where all are."""
    pairs = []
    for name, column in columns.items():
        pair = pc.binary_join_element_wise(f',{json.dumps(name, ensure_ascii=False)}:"', escape(column), '"', "")
        pairs.append(pc.if_else(pc.not_equal(column, ""), pair, ""))
    # Nulls cannot be skipped here: Arrow (26.0) leaves rows out in which all are null.
    objects = pc.replace_substring(pc.binary_join_element_wise("{", *pairs, "}", ""), "{,", "{", max_replacements=1)
    found: pa.Array[Any] = pc.if_else(pc.equal(objects, "{}"), None, objects)
    return found


def escape(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """Text as it stands inside a JSON string."""
    written = column.buffers()[2]
    data = b"" if written is None else written.to_pybytes()
    if len(data.translate(None, TO_ESCAPE)) == len(data):
        return column
    column = pc.replace_substring(pc.replace_substring(column, "\\", "\\\\"), '"', '\\"')
    for code in range(32):
        if code in data:
            column = pc.replace_substring(column, chr(code), f"\\u{code:04x}")
    return column
