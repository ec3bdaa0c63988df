"""A file of addresses as people have it: CSV of any delimiter or plain lines, in any encoding, as records in Arrow.

A record is kept as the text it has in the file, quotation marks and all, so that what is written again is the same byte
for byte; the fields that are asked for are taken out of it in SQL.
"""

import codecs
import csv
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute

from flows.problems import ActionableError, WrongUsageError
from flows.sql import text as sql_text

pc: Any = pyarrow.compute  # the published stubs are of an older pyarrow and refuse plain calls

BLOCK_BYTES = 4 << 20
SAMPLE_BYTES = 1 << 20
SAMPLE_RECORDS = 200
DELIMITERS = (",", ";", "\t", "|")
LONGEST_RECORD = 1 << 20
"""Characters of a record that goes over several lines: beyond, a quotation mark was never closed."""

ADDRESS_COLUMNS = (
    "email",
    "emailaddress",
    "emailaddr",
    "mail",
    "mailaddress",
    "recipient",
    "recipientaddress",
    "recipientemail",
    "contactemail",
    "emailadresse",
    "emailadres",
    "correo",
    "courriel",
    "to",
    "address",
    "adresse",
)
"""Names of a column of addresses, letters only and in lower case, the surest first."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class ReadOptions:
    """What a person says of a file; None is judged by the file. `column` is a name, or a number from 1."""

    column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool | None = None


DEFAULT_OPTIONS = ReadOptions()


@dataclass(frozen=True)
class ListFile:
    r"""What a file was found to be. `delimiter` None: plain lines, an address each. `header` None: it has none.

    `mark` is the byte order mark that it begins with, `newline` what ends its lines (`\n` also stands for `\r\n`,
    whose `\r` then ends each record).
    """

    path: Path
    name: str
    encoding: str
    mark: bytes
    newline: str
    delimiter: str | None
    header: tuple[str, ...] | None
    sample: tuple[tuple[str, ...], ...]


def open_list_file(path: Path, options: ReadOptions, *, spool: Path) -> ListFile:
    """Find out a file's encoding, delimiter and header.

    `-` is standard input, which is copied into the folder `spool` first. Workbooks and compressed files are refused,
    as is a file that is empty or cannot be read.
    """
    name = path.name
    if str(path) == "-":
        path, name = spool / "stdin", "standard input"
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
    try:
        with path.open("rb") as file:
            head = file.read(SAMPLE_BYTES)
    except OSError as error:
        raise ActionableError(f"cannot read {name}: {error.strerror}", "give a file that you may read") from error
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise WrongUsageError(f"{name} is a workbook or a ZIP file, not text", "save the sheet as CSV and give that")
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")):
        raise WrongUsageError(f"{name} is compressed", "decompress it first, or pipe it in: zcat FILE | … -")
    if not head.strip(b" \t\r\n\xef\xbb\xbf\xff\xfe\x00"):
        raise WrongUsageError(f"{name} is empty", "give a file with an address a line, or a CSV file with a header")
    mark, found = next(((mark, code) for mark, code in BYTE_ORDER_MARKS if head.startswith(mark)), (b"", None))
    encoding = find_encoding(path, name, options.encoding or found, head)
    newline = "\n" if "\n" in head.decode(encoding, "replace") else "\r"
    start = head[len(mark) :].decode(encoding, "replace")
    lines = [line for line in start.replace("\r\n", "\n").split(newline) if line.strip()][: 2 * SAMPLE_RECORDS]
    if len(head) == SAMPLE_BYTES and len(lines) > 1:
        lines.pop()  # may be cut
    delimiter = options.delimiter
    if delimiter is None:
        delimiter = find_delimiter(lines)
    elif len(delimiter) != 1 or delimiter in '"\r\n':
        raise WrongUsageError(f"{delimiter!r} cannot be a delimiter", "give one character, such as ; or a tab")
    records = [tuple(fields) for fields in parse(lines, delimiter)][:SAMPLE_RECORDS]
    has_header = find_header(records) if options.has_header is None else options.has_header
    return ListFile(
        path=path,
        name=name,
        encoding=encoding,
        mark=mark,
        newline=newline,
        delimiter=delimiter,
        header=records[0] if has_header else None,
        sample=tuple(records[1:] if has_header else records),
    )


def find_encoding(path: Path, name: str, claimed: str | None, head: bytes) -> str:
    """Give the encoding in which the whole file can be read: the one claimed, else UTF-8, UTF-16 or Windows-1252."""
    if claimed is not None:
        try:
            claimed = codecs.lookup(claimed).name
        except LookupError:
            raise WrongUsageError(
                f"no encoding is called {claimed!r}", "give one such as utf-8, utf-16, latin-1 or windows-1252"
            ) from None
        claimed = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(claimed, claimed)
        if not can_decode(path, claimed):
            raise ActionableError(f"{name} is not in {claimed}", "give the encoding it is in with --encoding")
        return claimed
    if b"\0" in head[:4096]:
        # letters, digits, @ and commas have a zero byte beside them in UTF-16, after them where it is little-endian
        encoding = "utf-16-le" if head[1:4096:2].count(0) >= head[0:4096:2].count(0) else "utf-16-be"
        if can_decode(path, encoding):
            return encoding
    for encoding in ("utf-8", "cp1252", "latin-1"):
        if can_decode(path, encoding):
            return encoding
    raise AssertionError("every byte is a character of Latin-1")


def can_decode(path: Path, encoding: str) -> bool:
    """Read the file through, to say whether all of it is in the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def find_delimiter(lines: Sequence[str]) -> str | None:
    """Give the delimiter that cuts most lines into as many fields as the first; None if none cuts a third of them so.

    A line such as `"Doe, Ann" <ann@mail.example>` holds a comma too, but the lines about it do not.
    """
    best, best_share = None, 1 / 3
    for delimiter in DELIMITERS:
        counts = [len(fields) for fields in parse(lines[:SAMPLE_RECORDS], delimiter)]
        share = counts.count(counts[0]) / len(counts) if counts[0] > 1 else 0
        if share > best_share:
            best, best_share = delimiter, share
    return best


def parse(lines: Sequence[str], delimiter: str | None) -> list[list[str]]:
    """Take the fields out of a few lines."""
    if delimiter is None:
        return [[line.strip()] for line in lines]
    csv.field_size_limit(max(csv.field_size_limit(), 2 * SAMPLE_BYTES))
    try:
        return [row for row in csv.reader([line + "\n" for line in lines], delimiter=delimiter) if row]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def find_header(records: Sequence[Sequence[str]]) -> bool:
    """Whether the first record is a header: no address is in it, and an address, or the name of its column, is."""
    first = records[0]
    if any("@" in field for field in first):
        return False
    if any(normal_name(field) in ADDRESS_COLUMNS for field in first):
        return True
    return len(first) > 1 and any("@" in field for record in records[1:] for field in record)


def normal_name(name: str) -> str:
    """A column's name with letters only, in lower case, so that `E-Mail` is `email`."""
    return re.sub(r"[\W\d_]", "", name).lower()


def find_address_column(file: ListFile, wanted: str | None, known: Sequence[str] = ADDRESS_COLUMNS) -> int:
    """Give the place of the address column, from 0; `WrongUsageError` with the names there are if it is unclear.

    `wanted` is a name, or a number from 1 where there is no header.
    """
    width = max(len(record) for record in (*file.sample, file.header or ("",)))
    if wanted is not None:
        names = [name.strip().lower() for name in file.header or ()]
        if wanted.strip().lower() in names:
            return names.index(wanted.strip().lower())
        if wanted.isdecimal() and 1 <= int(wanted) <= width:
            return int(wanted) - 1
        raise WrongUsageError(f"{file.name} has no column {wanted!r}", _name_columns(file, width))
    if file.delimiter is None:
        return 0

    def share(column: int) -> float:
        values = [record[column] for record in file.sample if len(record) > column and record[column].strip()]
        return sum("@" in value for value in values) / len(values) if values else 0

    if file.header is not None:
        names = [normal_name(name) for name in file.header]
        for name in known:
            places = [place for place, given in enumerate(names) if given == name]
            if len(places) == 1 and (share(places[0]) > 0 or not file.sample):
                return places[0]
    else:
        places = [column for column in range(width) if share(column) >= 0.5]
        if len(places) == 1:
            return places[0]
    raise WrongUsageError(f"it is unclear which column of {file.name} holds the addresses", _name_columns(file, width))


def _name_columns(file: ListFile, width: int) -> str:
    if file.header is None:
        return f"say which with --column 1 to --column {width} (the file has no header)"
    return "say which with --column: " + ", ".join(repr(name) for name in file.header)


def read_records(file: ListFile) -> pa.RecordBatchReader:
    """Give the records in order, the header among them, in a column `line`. Lines without text are no records."""
    schema = pa.schema([("line", pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        joiner = Joiner(file) if file.delimiter is not None else None
        for block in decode_blocks(file):
            whole = pa.Array.from_buffers(pa.string(), 1, [
                None, pa.array([0, len(block)], pa.int32()).buffers()[1], pa.py_buffer(block)
            ])  # fmt: skip
            lines = pc.split_pattern(whole, "\n").flatten()
            if joiner:
                lines = joiner.join(lines) if joiner.is_open or b'"' in block else joiner.skip(lines)
            begins = pc.binary_slice(lines.cast(pa.binary()), 0, 1)
            if pc.any(pc.is_in(begins, pa.array([b"", b" ", b"\t", b"\r"]))).as_py():
                lines = lines.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))
            yield pa.RecordBatch.from_arrays([lines], schema=schema)
        if joiner and joiner.is_open:
            raise ActionableError(
                f"{file.name}: the quotation mark that opens in line {joiner.opened_at:,} is never closed",
                "close it there, or take it out",
            )

    return pa.RecordBatchReader.from_batches(schema, batches())


def load_records(connection: duckdb.DuckDBPyConnection, file: ListFile) -> None:
    """Make the table `records` of `line`, whose row ids are the places of the records, the header's 0."""
    reader = read_records(file)
    connection.register("reader", reader)
    try:
        connection.execute("create or replace temp table records as select line from reader")
    except duckdb.Error as error:
        # what the reader raised comes as the engine's error, its own message within
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ActionableError):
            raise cause from None
        raise ActionableError(
            f"cannot read {file.name}: {str(error).splitlines()[0]}", "see whether it is a list of addresses"
        ) from error
    finally:
        connection.unregister("reader")


def decode_blocks(file: ListFile) -> Iterator[bytes]:
    """Blocks of UTF-8 that end before a line end, lines parted by a line feed, without byte order mark."""
    decoder = None if file.encoding == "utf-8" else codecs.getincrementaldecoder(file.encoding)()
    rest = b""
    with file.path.open("rb") as source:
        source.seek(len(file.mark))
        while raw := source.read(BLOCK_BYTES):
            block = decoder.decode(raw).encode("utf-8", "surrogatepass") if decoder else raw
            if file.newline == "\r":
                block = block.replace(b"\r", b"\n")
            end = block.rfind(b"\n")
            if end < 0:
                rest += block
                if len(rest) > 64 * BLOCK_BYTES:
                    raise ActionableError(f"{file.name}: a line is longer than 256 MiB", "this is no list of addresses")
                continue
            yield rest + block[:end]
            rest = block[end + 1 :]
    if rest:
        yield rest


class Joiner:
    """Puts together the records that go over several lines, because a quoted field holds line ends (RFC 4180).

    Only lines with an odd number of quotation marks can open or close such a field, so that others are looked at by
    Python only between two such.
    """

    def __init__(self, file: ListFile) -> None:
        delimiter = re.escape(file.delimiter or ",")
        self.name = file.name
        self.quoted = re.compile(rf'(?:^|{delimiter})"((?:[^"]|"")*+)("?)')
        self.closing = re.compile(r'(?:[^"]|"")*+"')
        self.pending: list[str] = []
        self.line_number = 0
        self.opened_at = 0

    @property
    def is_open(self) -> bool:
        return bool(self.pending)

    def skip(self, lines: Any) -> Any:
        """Give the lines of a block without quotation marks as they are, counted."""
        self.line_number += len(lines)
        return lines

    def join(self, lines: Any) -> Any:
        """Give the lines of a block with those put together that are one record."""
        odd = pc.equal(pc.bit_wise_and(pc.count_substring(lines, '"'), 1), 1)
        if not self.is_open and not pc.any(odd).as_py():
            return self.skip(lines)
        records: list[str] = []
        for line in lines.to_pylist():
            self.line_number += 1
            if not self.pending and line.count('"') % 2 == 0:
                records.append(line)
                continue
            start = 0
            if self.pending:
                self.pending.append(line)
                closing = self.closing.match(line)
                if closing is None:
                    if sum(map(len, self.pending)) > LONGEST_RECORD:
                        raise ActionableError(
                            f"{self.name}: the quotation mark that opens in line {self.opened_at:,} is not"
                            f" closed within {LONGEST_RECORD:,} characters",
                            "close it there, or take it out",
                        )
                    continue
                start = closing.end()
            if self.opens(line, start):
                if not self.pending:
                    self.pending, self.opened_at = [line], self.line_number
            elif self.pending:
                records.append("\n".join(self.pending))
                self.pending = []
            else:
                records.append(line)
        return pa.array(records, pa.string())

    def opens(self, line: str, start: int) -> bool:
        """Whether a quoted field that begins at `start` or later is not closed in this line."""
        while found := self.quoted.search(line, start):
            if not found[2]:
                return True
            start = found.end()
        return False


def field(file: ListFile, column: int, line: str = "line") -> str:
    """SQL for a field of a record, without its quotation marks; null where the record has no such field."""
    if file.delimiter is None:
        return _unquote(f"trim(rtrim({line}, chr(13)))")
    delimiter = sql_text(file.delimiter)
    cut = f"\\x{{{ord(file.delimiter):x}}}"
    one = f'(?:"(?:[^"]|"")*"[^{cut}]*|[^"{cut}][^{cut}]*)?'
    skipped = f"(?:{one}{cut}){{{column}}}" if column else ""
    quoted = f"rtrim(regexp_extract({line}, {sql_text(f'(?s)^{skipped}({one})')}, 1), chr(13))"
    return f"""case
        when contains({line}, '"') then {_unquote(quoted)}
        else rtrim(split_part({line}, {delimiter}, {column + 1}), chr(13))
    end"""


def _unquote(value: str) -> str:
    return f"""case
        when starts_with({value}, '"') and ends_with({value}, '"') and length({value}) > 1
            then replace({value}[2:-2], '""', '"')
        else {value}
    end"""


def quote(file: ListFile, value: str) -> str:
    """A text as a field of the file, for what is written beside its own records."""
    acts = set('"\r\n') | {file.delimiter or ","}
    return '"' + value.replace('"', '""') + '"' if acts & set(value) else value
