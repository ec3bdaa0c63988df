"""One raw file to Parquet: its records to `landing/`, what is none to `rejects/`, a load record counts both."""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows.landing import (
    accounting,
    actions,
    dsn,
    events,
    exim,
    json_text,
    kumomta,
    mail,
    mailgun,
    postfix,
    postmark,
    powermta,
    sendgrid,
    ses,
    sparkpost,
    tables,
)
from flows.landing.content import BLOCK_BYTES, Content, Reading, UnreadableError, open_content, prefetch
from flows.landing.inbox import Arrival, Known, Unreadable
from flows.landing.lines import BOM, SCHEMA, Counter, split_lines
from flows.landing.loads import Load, find_load, landing_path, load_path, rejects_path, write_load
from flows.landing.source import NOT_AN_OBJECT, Context, Source, quote, text
from flows.landing.tables import ForeignFileError
from flows.landing.temporary import hold_lock, temporary_folder
from flows.settings import Settings

ALL_SOURCES = {
    each.SOURCE.name: each.SOURCE
    for each in (kumomta, postfix, ses, sendgrid, mailgun, sparkpost, postmark, powermta, exim, dsn, events, actions)
}

LANDING_COLUMNS = {name: source.columns for name, source in ALL_SOURCES.items()}
"""Columns of a landing file of each source, with their DuckDB types, in order."""

REJECT_COLUMNS = {
    "source_name": "VARCHAR",
    "source_file": "VARCHAR",
    "file_digest": "VARCHAR",
    "record_number": "BIGINT",
    "record_part": "INTEGER",
    "reason": "VARCHAR",
    "record": "BLOB",
    "landed_at": "TIMESTAMP",
}
"""Columns of a rejects file, with their DuckDB types, in order."""

DICTIONARY_VALUES = 1000
"""Distinct values up to which a column chunk gets a dictionary: beyond it, one costs more than it saves."""

SHOWN_BYTES = 4096
"""How much of a file of another kind goes into its reject; the file itself stays in the inbox."""

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


@dataclass
class Splitting:
    """How a file's content becomes records: batches of one schema, to be had again for a second look."""

    source: Source
    schema: pa.Schema
    batches: Callable[[Reading, Counter], Iterator[pa.RecordBatch]]
    is_by_line: bool = False
    message: str | None = None


def land_file(settings: Settings, arrival: Arrival) -> Load | Known | Unreadable:
    """Land one file of the inbox, unless its content is landed already. Several may be landed at once.

    Read twice: for the digest, which names everything written, then for the records; a third time where some were
    rejected, for those alone. What is read is what the file held at first, even while it grows.
    """
    try:
        with open_content(arrival.path) as content:
            return land_content(settings, arrival, content)
    except UnreadableError as error:
        return Unreadable(arrival.source_file, str(error))


def land_content(settings: Settings, arrival: Arrival, content: Content) -> Load | Known | Unreadable:
    """Land an open file. See `land_file`."""
    reading = content.measure()
    name, digest = arrival.source_name, reading.digest
    if find_load(settings, name, digest):
        return Known(arrival.source_file, digest)
    folder = settings.landing / name
    folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(settings, exclusive=False), temporary_folder(folder) as temporary:
        landing = FileLanding(settings, arrival, content, reading, temporary)
        load = landing.write()
        if content.has_changed() and content.measure().digest != digest:
            return Unreadable(arrival.source_file, "was written over while it was read; the next run takes it")
        return publish(settings, load, temporary)


class FileLanding:
    """The steps for one file, which share a connection, a temporary folder and one landing time."""

    def __init__(
        self, settings: Settings, arrival: Arrival, content: Content, reading: Reading, temporary: Path
    ) -> None:
        self.arrival = arrival
        self.content = content
        self.reading = reading
        self.temporary = temporary
        self.threads = settings.threads
        self.landed_at = datetime.now(UTC).replace(tzinfo=None)
        modified_at = datetime.fromtimestamp(content.status.st_mtime, UTC)
        self.context = Context(self.landed_at, postfix.find_anchor_date(arrival.path.name, modified_at))
        self.source = ALL_SOURCES[arrival.source_name]
        self.connection = connect(settings)

    def write(self) -> Load:
        """Write `landing.parquet` and, if something was rejected, `rejects.parquet`; give their load record."""
        counter = Counter()
        message = self.reading.message
        try:
            splitting = self.split(first_block(self.content))
            self.source = splitting.source
            landed, rejected = self.write_records(splitting, counter)
            message = "; ".join(filter(None, (message, splitting.message))) or None
        except ForeignFileError as error:
            landed, rejected, counter.records = 0, 1, 1
            message = "; ".join(filter(None, (message, f"of another kind: {error}")))
            self.write_foreign(str(error))
        finally:
            self.connection.close()
        if not self.reading.content_bytes:
            message = message or "an empty file"
        return Load(
            source_name=self.arrival.source_name,
            source_file=self.arrival.source_file,
            file_digest=self.reading.digest,
            file_bytes=self.reading.stored_bytes,
            compression=self.reading.compression,
            records_read=counter.records,
            records_landed=landed,
            records_rejected=rejected,
            landing_bytes=(self.temporary / "landing.parquet").stat().st_size,
            is_complete=self.reading.is_complete,
            message=message,
            landed_at=self.landed_at.isoformat(timespec="microseconds") + "Z",
        )

    def split(self, head: bytes) -> Splitting:
        """Choose how to take the file apart, by its first block; `ForeignFileError` if the source has no such files."""
        source = self.source
        if source.name == "events" and head.startswith(tables.PARQUET_MAGIC):
            if self.reading.compression != "none":
                raise ForeignFileError(f"a Parquet file inside {self.reading.compression}: decompress it")
            return Splitting(
                events.TABLE,
                tables.table_schema(source.fields),
                lambda reading, counter: tables.split_parquet(self.content.path, source.fields, counter),
            )
        kind = next((kind for magic, kind in KNOWN_KINDS.items() if head.startswith(magic)), None)
        if kind:
            raise ForeignFileError(kind)
        if source.form == "mail":
            if head.strip() and not mail.is_mail(head):
                raise ForeignFileError("neither a mail nor a mailbox, it begins with no header field: " + show(head))
            mailbox = dsn.Mailbox(self.context, self.threads)
            return Splitting(
                source, dsn.BATCH_SCHEMA, lambda reading, counter: mailbox.batches(self.blocks(reading), counter)
            )
        if source.form == "lines":
            if head.strip() and not re.search(source.line_prefix.encode(), head.removeprefix(BOM), re.MULTILINE):
                raise ForeignFileError(
                    f"no line of its first {BLOCK_BYTES >> 20} MiB begins like {source.line_kind}: " + show(head)
                )
            return Splitting(
                source,
                SCHEMA,
                lambda reading, counter: split_lines(self.blocks(reading), counter, source.is_finished),
                is_by_line=True,
            )
        if source is powermta.SOURCE:
            if head.strip():
                accounting.read_header(head, source.fields)
            return Splitting(
                source,
                tables.table_schema(source.fields),
                # rows are rejected in the second look, and only there their text is wanted
                lambda reading, counter: accounting.split_accounting(
                    self.blocks(reading),
                    source.fields,
                    counter,
                    with_lines=(self.temporary / "whole.parquet").exists(),
                ),
            )
        if head.strip() and not re.search(rb"^\s*[\[{]", head.removeprefix(BOM), re.MULTILINE):
            if source.name == "events" and b"\0" not in head:
                header = tables.read_header(head, source.fields)
                return Splitting(
                    events.TABLE,
                    tables.table_schema(source.fields),
                    lambda reading, counter: tables.split_csv(self.blocks(reading), header, source.fields, counter),
                    message=f"unknown columns passed over: {', '.join(header.unknown)}" if header.unknown else None,
                )
            raise ForeignFileError(f"no line of its first {BLOCK_BYTES >> 20} MiB begins like JSON: " + show(head))
        if json_text.is_document(head):
            return Splitting(
                source,
                SCHEMA,
                lambda reading, counter: json_text.split_document(self.blocks(reading), counter, source.list_key),
            )
        return Splitting(
            source,
            SCHEMA,
            lambda reading, counter: json_text.split_lists(
                split_lines(self.blocks(reading), counter), counter, source.list_key
            ),
            is_by_line=True,
        )

    def blocks(self, reading: Reading) -> Iterator[bytes]:
        return prefetch(self.content.blocks(reading))

    def write_records(self, splitting: Splitting, counter: Counter) -> tuple[int, int]:
        """Land what can be; then take apart the lines, if any, that hold several objects, and land their pieces."""
        landed = self.land_stream("whole", splitting, counter)
        if landed == counter.records:
            (self.temporary / "whole.parquet").rename(self.temporary / "landing.parquet")
            return landed, 0
        pieces = Counter()
        landed_pieces = 0
        lines_taken_apart = self.count_splittable() if self.source.form == "json" else 0
        if lines_taken_apart:
            taken_apart = Splitting(self.source, SCHEMA, lambda reading, counter: self.take_apart(counter))
            landed_pieces = self.land_stream("pieces", taken_apart, pieces)
            counter.records += pieces.records - lines_taken_apart
        parts = [name for name, count in (("whole", landed), ("pieces", landed_pieces)) if count] or ["whole"]
        self.concatenate("landing", parts, LANDING_COLUMNS[self.source.name])
        rests = ["whole"] + (["pieces"] if landed_pieces < pieces.records else [])
        rejected = self.concatenate("rejects", [f"{name}-rest" for name in rests], REJECT_COLUMNS, "not is_taken_apart")
        return landed + landed_pieces, rejected

    def land_stream(self, name: str, splitting: Splitting, counter: Counter) -> int:
        """Write the good records to `<name>.parquet` and, in a second look, any others to `<name>-rest.parquet`."""
        with self.register("stream", splitting.schema, splitting.batches(Reading(), counter)):
            landed = self.copy(
                name,
                f"with lines as (select * from stream),{self.source.judge(self.context)}"
                f" select {self.landing_columns()} from judged where reject_reason is null",
            )
        if landed < counter.records:
            numbers = parquet_reader(self.temporary / f"{name}.parquet", ["record_number", "record_part"])
            # A line of several objects is taken apart, but only once, and only where lines are the unit of the file.
            is_splittable = str(splitting.is_by_line and name == "whole").lower()
            with (
                self.register("landed", numbers.schema, numbers),
                self.register("stream", splitting.schema, splitting.batches(Reading(), Counter())),
            ):
                self.copy(
                    f"{name}-rest",
                    "with lines as (select * from stream anti join landed using (record_number, record_part)),"
                    f"{self.source.judge(self.context)} select {self.reject_columns()},"
                    f" {is_splittable} and raw is null and record_part = 1"
                    f" and reject_reason = {text(NOT_AN_OBJECT)} as is_taken_apart"
                    " from judged",
                )
        return landed

    def count_splittable(self) -> int:
        reader = parquet_reader(self.temporary / "whole-rest.parquet", ["is_taken_apart"])
        return sum(batch.filter(batch["is_taken_apart"]).num_rows for batch in reader)

    def take_apart(self, counter: Counter) -> Iterator[pa.RecordBatch]:
        """The objects of the lines that hold more than one."""

        def rows() -> Iterator[json_text.Row]:
            columns = ["record_number", "record", "is_taken_apart"]
            for batch in parquet_reader(self.temporary / "whole-rest.parquet", columns):
                chosen = batch.filter(batch["is_taken_apart"])
                for number, record in zip(chosen["record_number"], chosen["record"], strict=True):
                    yield from json_text.split_line(number.as_py(), record.as_py().decode())

        return json_text.batches(json_text.open_rows(rows(), self.source.list_key), counter)

    def write_foreign(self, found: str) -> None:
        """No landed record, and one reject that says what the file is."""
        landing = ", ".join(
            f"null::{kind} as {quote(name)}" for name, kind in LANDING_COLUMNS[self.source.name].items()
        )
        self.copy("landing", f"select {landing} where false")
        head = first_block(self.content)[:SHOWN_BYTES]
        reject = pa.RecordBatch.from_arrays([pa.array([head], pa.binary())], ["raw"])
        with self.register("file", reject.schema, iter([reject])):
            self.copy(
                "rejects",
                f"select {self.reject_constants()}, 0::bigint as record_number, 1::integer as record_part,"
                f" {text('a file of another kind: ' + found)} as reason, raw as record,"
                f" {self.landed_literal()} as landed_at"
                " from file",
            )

    def landing_columns(self) -> str:
        """The select list of a landing file."""
        return (
            ", ".join(map(quote, self.source.fields))
            + f", {text(self.arrival.source_file)} as source_file, {text(self.reading.digest)} as file_digest,"
            f" record_number, record_part, {self.landed_literal()} as landed_at"
        )

    def reject_columns(self) -> str:
        """The select list of a rejects file; a row of a table that has no text of its own is kept as a JSON object."""
        row = ", ".join(f"{quote(name)}: {quote(name)}" for name in self.source.fields)
        record = f"coalesce(line, to_json({{{row}}})::varchar)" if self.source.form == "table" else "line"
        return (
            f"{self.reject_constants()}, record_number, record_part, reject_reason as reason,"
            f" coalesce(raw, encode({record})) as record, {self.landed_literal()} as landed_at"
        )

    def reject_constants(self) -> str:
        return (
            f"{text(self.source.name)} as source_name, {text(self.arrival.source_file)} as source_file,"
            f" {text(self.reading.digest)} as file_digest"
        )

    def landed_literal(self) -> str:
        return f"timestamp '{self.landed_at.isoformat(sep=' ')}'"

    def concatenate(self, name: str, parts: list[str], columns: dict[str, str], condition: str = "true") -> int:
        """Files of the temporary folder one after the other as a new one; returns its rows."""
        with ExitStack() as stack:
            selects = []
            for place, part in enumerate(parts):
                reader = parquet_reader(self.temporary / f"{part}.parquet")
                stack.enter_context(self.register(f"part{place}", reader.schema, reader))
                selects.append(f"select {', '.join(map(quote, columns))} from part{place} where {condition}")
            return self.copy(name, " union all ".join(selects))

    def copy(self, name: str, query: str) -> int:
        """Write a query's rows to a Parquet file of the temporary folder; returns how many."""
        path = self.temporary / f"{name}.parquet"
        statement = (
            f"copy ({query}) to {text(str(path))}"
            f" (format parquet, compression zstd, dictionary_size_limit {DICTIONARY_VALUES})"
        )
        row = self.connection.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    @contextmanager
    def register(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[None]:
        """Show a stream to SQL under a name. An error inside the stream comes out as it was raised, not as DuckDB's."""
        raised: list[BaseException] = []

        def guarded() -> Generator[pa.RecordBatch]:
            try:
                yield from batches
            except BaseException as error:
                raised.append(error)
                raise

        stream = guarded()
        self.connection.register(name, pa.RecordBatchReader.from_batches(schema, stream))
        try:
            yield
        except duckdb.Error:
            if raised:
                raise raised[0] from None
            raise
        finally:
            self.connection.unregister(name)
            stream.close()


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A private engine in memory, within the limits of the settings."""
    connection = duckdb.connect(config={"memory_limit": settings.memory_limit, "autoinstall_known_extensions": False})
    connection.execute("set TimeZone = 'UTC'")
    # Rows have their record_number; kept in order, they would wait for one another before they are written.
    connection.execute("set preserve_insertion_order = false")
    if settings.threads:
        connection.execute(f"set threads = {settings.threads}")
    # Pushed below the projection that parses a record, the filter on its reason would parse it a second time.
    connection.execute("set disabled_optimizers = 'filter_pushdown'")
    return connection


def first_block(content: Content) -> bytes:
    """The begin of the content, for a look at its kind."""
    return next(content.blocks(Reading()), b"")


def show(head: bytes) -> str:
    """How a text begins, harmless to print."""
    return ascii(head.lstrip()[:40].decode("utf-8", "replace"))


def parquet_reader(path: Path, columns: list[str] | None = None) -> pa.RecordBatchReader:
    """A Parquet file as a stream. Not by its name in SQL, where a home named `[x]` would be a pattern."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    chosen = pa.schema([schema.field(name) for name in columns]) if columns else schema
    return pa.RecordBatchReader.from_batches(chosen, file.iter_batches(columns=columns))


def publish(settings: Settings, load: Load, temporary: Path) -> Load | Known:
    """Give the files their names, the load record last; or leave them, where the same content was landed meanwhile."""
    name, digest = load.source_name, load.file_digest
    rejects = rejects_path(settings, name, digest)
    rejects.parent.mkdir(parents=True, exist_ok=True)
    record = temporary / "load.json"
    write_load(record, load)
    for path in (temporary / "landing.parquet", temporary / "rejects.parquet"):
        if path.exists():
            sync(path)
    with hold_lock(settings, exclusive=True, kind="publish"):
        if find_load(settings, name, digest):
            return Known(load.source_file, digest)
        if load.records_rejected:
            (temporary / "rejects.parquet").replace(rejects)
            sync(rejects.parent)
        else:
            rejects.unlink(missing_ok=True)  # of an earlier try that was killed before it was counted
        landing = landing_path(settings, name, digest)
        (temporary / "landing.parquet").replace(landing)
        sync(landing.parent)
        record.replace(load_path(settings, name, digest))
        sync(landing.parent)
    return load


def sync(path: Path) -> None:
    """Make a file or a folder's names durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
