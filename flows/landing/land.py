"""Raw files to Parquet: their records to `landing/`, what is none to `rejects/`, a load record counts both.

Files of one kind are landed together, as a pack; a large one is a pack of one.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flows import progress
from flows.failpoints import failpoint
from flows.landing import (
    actions,
    dsn,
    events,
    exim,
    json_text,
    kumomta,
    lines,
    mailgun,
    postfix,
    postmark,
    powermta,
    sendgrid,
    ses,
    sparkpost,
)
from flows.landing.content import Content, Reading, UnreadableError, prefetch
from flows.landing.inbox import Arrival, Known, Unreadable
from flows.landing.lines import SCHEMA, pc
from flows.landing.loads import (
    Landed,
    Load,
    landing_path,
    load_path,
    name_pack,
    rejects_path,
    sync,
    write_load,
)
from flows.landing.memory import keep_freed_memory
from flows.landing.reading import FirstReading, read_ahead
from flows.landing.source import NOT_AN_OBJECT, Context
from flows.landing.splitting import (
    NUMBER_MASK,
    PLACE_BITS,
    RawFile,
    Splitting,
    choose_splitting,
    count_places,
    refuse,
    split_batches,
    split_files,
)
from flows.landing.tables import ForeignFileError
from flows.landing.temporary import hold_lock, temporary_folder
from flows.settings import Settings
from flows.sql import quote, text

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

PARQUET = "format parquet, compression zstd, compression_level 1, dictionary_size_limit 1000, row_group_size 61440"
"""How landing files are written. Level 1 takes two thirds of level 3's time for one percent more bytes; a dictionary of
more values costs more than it saves; a row group of half the usual size stays nearer to the processor."""

PACKED_BYTES = 64 << 20
"""Files whose content is no larger are kept in memory, and landed together."""
PACK_FILES = 10_000
PACK_BYTES = 256 << 20
"""So many of them, or of their bytes, are kept at once; one more file may be above it."""

WRITTEN_OVER = "was written over while it was read; the next run takes it"

NUMBERS = pa.schema([("record_number", pa.int64()), ("record_part", pa.int32())])

SHOWN_BYTES = 4096
"""How much of a file of another kind goes into its reject; the file itself stays in the inbox."""

Outcome = Load | Known | Unreadable


def land_file(settings: Settings, arrival: Arrival) -> Outcome:
    """Land one file of the inbox by itself. See `land_files`."""
    return land_files(settings, [arrival])[0]


def land_files(settings: Settings, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Land files of the inbox, unless their content is landed already; gives what became of each, in their order.

    Several processes may land at once. A file is read once. A large one is read for the digest, which names
    everything written, then for the records; once more where some were rejected, for those alone. What is read is
    what the file held at first, even while it grows.
    """
    keep_freed_memory()
    paths = (arrival.path for arrival in arrivals)
    with (
        closing(Landing(settings)) as landing,
        closing(read_ahead(paths, PACKED_BYTES, settings.inflation_limit)) as found,
    ):
        for place, (arrival, first) in enumerate(zip(arrivals, found, strict=True)):
            landing.take(place, arrival, first)
            progress.advance(arrival.file_bytes)
        landing.land_packs()
    return [landing.outcomes[place] for place in range(len(arrivals))]


@dataclass
class Pack:
    """Files to be landed together: of each its place among the arrivals, its content, and how it is taken apart."""

    places: list[int] = field(default_factory=list)
    files: list[RawFile] = field(default_factory=list)
    splittings: list[Splitting] = field(default_factory=list)

    def add(self, place: int, raw: RawFile, splitting: Splitting) -> None:
        self.places.append(place)
        self.files.append(raw)
        self.splittings.append(splitting)

    def without(self, digests: set[str]) -> "Pack":
        """The files of other contents."""
        rest = Pack()
        for place, raw, splitting in zip(self.places, self.files, self.splittings, strict=True):
            if raw.reading.digest not in digests:
                rest.add(place, raw, splitting)
        return rest


class Landing:
    """A sequence of files on their way, with `outcomes` by place among them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outcomes: dict[int, Outcome] = {}
        self.landed: dict[str, Landed] = {}
        self.packs: dict[Splitting, Pack] = {}
        self.held_digests: set[tuple[str, str]] = set()
        self.held_bytes = 0

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """One engine for all packs: DuckDB gives all free memory of the process back when an engine is closed."""
        return connect(self.settings)

    def close(self) -> None:
        """End the engine, if there was anything to land."""
        if "connection" in self.__dict__:
            self.connection.close()

    def take(self, place: int, arrival: Arrival, first: FirstReading | UnreadableError) -> None:
        """Keep a file for its pack; land it now where it is large or of a kind that is read by itself."""
        if isinstance(first, UnreadableError):
            self.outcomes[place] = Unreadable(arrival.source_file, str(first))
            return
        with first.content as content:
            try:
                self.take_read(place, arrival, first, content)
            except UnreadableError as error:
                self.outcomes[place] = Unreadable(arrival.source_file, str(error))

    def take_read(self, place: int, arrival: Arrival, first: FirstReading, content: Content) -> None:
        """Take a file whose digest is known."""
        name, digest, kept = arrival.source_name, first.reading.digest, first.kept
        if (name, digest) in self.held_digests or self.landed_of(name).find(digest):
            self.outcomes[place] = Known(arrival.source_file, digest)
            return
        if kept is None:
            head = next(content.blocks(Reading()), b"")
        elif content.has_changed() and content.measure().digest != digest:
            self.outcomes[place] = Unreadable(arrival.source_file, WRITTEN_OVER)
            return
        else:
            head = kept[0] if kept else b""

        def blocks() -> Iterator[bytes]:
            if kept is not None:
                return iter(kept)
            # decoding runs beside parsing; plain reading is so short that a thread of its own costs more
            fresh = content.blocks(Reading())
            return fresh if first.reading.compression == "none" else prefetch(fresh)

        raw = RawFile(arrival, first.reading, head, blocks, find_day(arrival, content), content.file)
        is_foreign = False
        try:
            splitting = choose_splitting(ALL_SOURCES[name], raw)
        except ForeignFileError as error:
            splitting, is_foreign = refuse(ALL_SOURCES[name], error), True
        if kept is None or splitting.path or is_foreign:
            pack = Pack()
            pack.add(place, raw, splitting)
            self.land_pack(pack, content)
            return
        self.packs.setdefault(splitting, Pack()).add(place, raw, splitting)
        self.held_digests.add((name, digest))
        self.held_bytes += first.reading.content_bytes
        if len(self.held_digests) >= PACK_FILES or self.held_bytes >= PACK_BYTES:
            self.land_packs()

    def land_packs(self) -> None:
        """Land what is kept, one pack after the other."""
        while self.packs:
            self.land_pack(self.packs.pop(next(iter(self.packs))))
        self.held_digests, self.held_bytes = set(), 0

    def land_pack(self, pack: Pack, content: Content | None = None) -> None:
        """Write and publish a pack; `content` is there where its one file is read as it is written.

        What another process landed meanwhile is left out, and the others are written anew as a pack without it.
        """
        source_name = pack.files[0].arrival.source_name
        folder = self.settings.landing / source_name
        folder.mkdir(parents=True, exist_ok=True)
        while pack.files:
            with hold_lock(self.settings, exclusive=False), temporary_folder(folder) as temporary:
                loads = PackWriter(self.settings, self.connection, pack, temporary).write()
                if content and content.has_changed() and content.measure().digest != loads[0].file_digest:
                    self.outcomes[pack.places[0]] = Unreadable(loads[0].source_file, WRITTEN_OVER)
                    return
                known = publish(self.settings, self.landed_of(source_name), loads, temporary)
            for place, load in zip(pack.places, loads, strict=True):
                is_known = load.file_digest in known
                self.outcomes[place] = Known(load.source_file, load.file_digest) if is_known else load
            pack = pack.without(known) if known else Pack()

    def landed_of(self, source_name: str) -> Landed:
        """What has landed of a source, as far as this process knows."""
        if source_name not in self.landed:
            self.landed[source_name] = Landed(self.settings, source_name)
        return self.landed[source_name]


class PackWriter:
    """The steps for the files of a pack, which share a temporary folder and one landing time."""

    def __init__(self, settings: Settings, connection: duckdb.DuckDBPyConnection, pack: Pack, temporary: Path) -> None:
        self.files = pack.files
        self.splittings = pack.splittings
        self.source = pack.splittings[0].source
        self.temporary = temporary
        # in whole seconds: it stands in every row, and fractions would be most of what it takes there
        self.landed_at = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        self.context = Context(self.landed_at, pack.files[0].anchor_date)
        self.mailbox = dsn.Mailbox(self.context, settings.threads)
        self.digests = [raw.reading.digest for raw in pack.files]
        self.connection = connection
        self.is_single = len(pack.files) == 1
        if not self.is_single:
            names = [raw.arrival.source_file for raw in pack.files]
            files = pa.table({"place": range(len(names)), "source_file": names, "file_digest": self.digests})
            with self.register("pack_files", files.schema, files.to_batches()):
                self.connection.execute("create or replace temp table files as from pack_files")

    def write(self) -> list[Load]:
        """Write `landing.parquet` and, if something was rejected, `rejects.parquet`; give each file's load record."""
        messages = [splitting.message for splitting in self.splittings]
        try:
            read = self.write_records()
        except ForeignFileError as error:  # of a file that is alone
            messages, read = [f"of another kind: {error}"], Counter({0: 1})
            self.write_foreign(str(error))
        landed, rejected = self.count_written("landing"), self.count_written("rejects")
        landing_bytes = (self.temporary / "landing.parquet").stat().st_size
        pack = None if self.is_single else name_pack(self.digests)
        loads = []
        for place, (raw, said) in enumerate(zip(self.files, messages, strict=True)):
            reading = raw.reading
            message = "; ".join(filter(None, (reading.message, said))) or None
            loads.append(
                Load(
                    source_name=raw.arrival.source_name,
                    source_file=raw.arrival.source_file,
                    file_digest=reading.digest,
                    file_bytes=reading.stored_bytes,
                    compression=reading.compression,
                    records_read=read[place],
                    records_landed=landed[reading.digest],
                    records_rejected=rejected[reading.digest],
                    landing_bytes=landing_bytes,
                    is_complete=reading.is_complete,
                    message=message or (None if reading.content_bytes else "an empty file"),
                    landed_at=self.landed_at.isoformat(timespec="microseconds") + "Z",
                    pack=pack,
                )
            )
        return loads

    def write_records(self) -> Counter[int]:
        """Land what can be; then take apart the lines, if any, that hold several objects, and land their pieces.

        Gives the number of records read, by their file's place.
        """
        first = self.splittings[0]
        read: Counter[int] = Counter()
        landed = self.land_stream("whole", first, lambda is_second: self.stream(read, is_second=is_second), read)
        if landed == read.total():
            (self.temporary / "whole.parquet").rename(self.temporary / "landing.parquet")
            return read
        pieces: Counter[int] = Counter()
        landed_pieces = 0
        taken_apart = self.count_taken_apart() if self.source.form == "json" else Counter()
        if taken_apart:
            of_lines = Splitting(self.source, SCHEMA, None)
            landed_pieces = self.land_stream("pieces", of_lines, lambda is_second: self.take_apart(), pieces)
        parts = [name for name, count in (("whole", landed), ("pieces", landed_pieces)) if count] or ["whole"]
        self.concatenate("landing", parts, LANDING_COLUMNS[self.source.name])
        rests = ["whole"] + (["pieces"] if landed_pieces < pieces.total() else [])
        self.concatenate("rejects", [f"{name}-rest" for name in rests], REJECT_COLUMNS, "not is_taken_apart")
        read.update(pieces)
        read.subtract(taken_apart)
        return read

    def stream(self, read: Counter[int], *, is_second: bool) -> Iterator[pa.RecordBatch]:
        """The records of the files; in the second look, of those of which not all have landed."""
        places = list(range(len(self.files)))
        if is_second:
            landed = self.count_written("whole")
            places = [place for place in places if landed[self.digests[place]] < read[place]]
        return split_files(self.splittings, self.files, places, self.mailbox, is_second=is_second)

    def land_stream(
        self, name: str, splitting: Splitting, stream: Callable[[bool], Iterator[pa.RecordBatch]], read: Counter[int]
    ) -> int:
        """Write the good records to `<name>.parquet` and, in a second look, any others to `<name>-rest.parquet`."""
        judge = self.source.judge(self.context)
        # `try` copies what it has tried, a tenth of the whole cost: it is left out until a text proves to be no JSON.
        untried = self.source.judge(replace(self.context, is_tried=False))
        for way in dict.fromkeys((untried, judge)):
            read.clear()
            try:
                batches = self.count(stream(False), read)
                if self.source.form == "json":
                    batches = split_batches(batches)
                with self.register("stream", splitting.schema, batches):
                    landed = self.copy(
                        name,
                        f"with lines as (select * from stream),{way}"
                        f" select {self.landing_columns()} from {self.judged()} where reject_reason is null",
                    )
                break
            # the engine's message quotes the text, and may cut a letter in two
            except (duckdb.InvalidInputException, UnicodeDecodeError):
                if way is judge:
                    raise
        if landed < read.total():
            # A line of several objects is taken apart, but only once, and only where lines are the unit of the file.
            is_splittable = str(splitting.is_by_line and name == "whole").lower()
            with (
                self.register("landed", NUMBERS, self.landed_numbers(name)),
                self.register("stream", splitting.schema, stream(True)),
            ):
                self.copy(
                    f"{name}-rest",
                    "with lines as (select * from stream anti join landed using (record_number, record_part)),"
                    f"{judge} select {self.reject_columns()},"
                    f" record_number as stream_number, {is_splittable} and raw is null and record_part = 1"
                    f" and reject_reason = {text(NOT_AN_OBJECT)} as is_taken_apart"
                    f" from {self.judged()}",
                )
        return landed

    def count(self, batches: Iterator[pa.RecordBatch], read: Counter[int]) -> Iterator[pa.RecordBatch]:
        """The same batches, their records counted by the place of their file."""
        for batch in batches:
            read.update({0: batch.num_rows} if self.is_single else count_places(batch["record_number"]))
            yield batch

    def landed_numbers(self, name: str) -> Iterator[pa.RecordBatch]:
        """Number and part of the landed records, as they were in the stream."""
        columns = ["record_number", "record_part", *([] if self.is_single else ["file_digest"])]
        for batch in parquet_reader(self.temporary / f"{name}.parquet", columns):
            numbers = batch["record_number"]
            if not self.is_single:
                places = pc.index_in(batch["file_digest"], value_set=pa.array(self.digests)).cast(pa.int64())
                numbers = pc.add(numbers, pc.shift_left(places, PLACE_BITS))
            yield pa.RecordBatch.from_arrays([numbers, batch["record_part"]], schema=NUMBERS)

    def chosen_lines(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Of the lines that hold several objects, some columns."""
        for batch in parquet_reader(self.temporary / "whole-rest.parquet", [*columns, "is_taken_apart"]):
            yield batch.filter(batch["is_taken_apart"])

    def count_taken_apart(self) -> Counter[int]:
        """Lines that hold several objects, by the place of their file."""
        found: Counter[int] = Counter()
        for batch in self.chosen_lines(["stream_number"]):
            found.update(count_places(batch["stream_number"]))
        return found

    def take_apart(self) -> Iterator[pa.RecordBatch]:
        """The objects of the lines that hold more than one."""
        rows = (
            row
            for batch in self.chosen_lines(["stream_number", "record"])
            for number, record in zip(batch["stream_number"], batch["record"], strict=True)
            for row in json_text.split_line(number.as_py(), record.as_py().decode())
        )
        return json_text.batches(json_text.open_rows(rows, self.source.list_key), lines.Counter())

    def write_foreign(self, found: str) -> None:
        """No landed record, and one reject that says what the file is."""
        landing = ", ".join(
            f"null::{kind} as {quote(name)}" for name, kind in LANDING_COLUMNS[self.source.name].items()
        )
        self.copy("landing", f"select {landing} where false")
        reject = pa.RecordBatch.from_arrays([pa.array([self.files[0].head[:SHOWN_BYTES]], pa.binary())], ["raw"])
        with self.register("file", reject.schema, iter([reject])):
            self.copy(
                "rejects",
                f"select {text(self.source.name)} as source_name, {self.file_columns()}, 0::bigint as record_number,"
                f" 1::integer as record_part, {text('a file of another kind: ' + found)} as reason, raw as record,"
                f" {self.landed_literal()} as landed_at"
                " from file",
            )

    def landing_columns(self) -> str:
        """The select list of a landing file."""
        return (
            ", ".join(map(quote, self.source.fields))
            + f", {self.file_columns()}, {self.number_column()}, record_part, {self.landed_literal()} as landed_at"
        )

    def reject_columns(self) -> str:
        """The select list of a rejects file; a row of a table that has no text of its own is kept as a JSON object."""
        row = ", ".join(f"{quote(name)}: {quote(name)}" for name in self.source.fields)
        record = f"coalesce(line, to_json({{{row}}})::varchar)" if self.source.form == "table" else "line"
        return (
            f"{text(self.source.name)} as source_name, {self.file_columns()}, {self.number_column()}, record_part,"
            f" reject_reason as reason, coalesce(raw, encode({record})) as record, {self.landed_literal()} as landed_at"
        )

    def file_columns(self) -> str:
        """The name and digest of a record's file, to be selected from `judged`."""
        if self.is_single:
            file = self.files[0]
            return f"{text(file.arrival.source_file)} as source_file, {text(file.reading.digest)} as file_digest"
        return "files.source_file, files.file_digest"

    def judged(self) -> str:
        """What to select these columns from. As a join: of a list of names DuckDB copies each that it takes out."""
        return "judged" if self.is_single else f"judged join files on files.place = record_number >> {PLACE_BITS}"

    def number_column(self) -> str:
        return "record_number" if self.is_single else f"record_number & {NUMBER_MASK} as record_number"

    def landed_literal(self) -> str:
        return f"timestamp {text(self.landed_at.isoformat(sep=' '))}"

    def count_written(self, name: str) -> Counter[str]:
        """The rows of a written file by the digest of their raw file; none where there is no such file."""
        path = self.temporary / f"{name}.parquet"
        if not path.exists():
            return Counter()
        if self.is_single:
            return Counter({self.digests[0]: pq.read_metadata(path).num_rows})
        counts = pc.value_counts(pq.read_table(path, columns=["file_digest"]).column(0))
        return Counter(dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)))

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
        statement = f"copy ({query}) to {text(str(path))} ({PARQUET})"
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
            close_stream(stream)


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A private engine in memory, within the limits of the settings."""
    connection = duckdb.connect(config={"memory_limit": settings.memory_limit, "autoinstall_known_extensions": False})
    connection.execute("set TimeZone = 'UTC'")
    # Rows have their record_number; kept in order, they would wait for one another before they are written.
    connection.execute("set preserve_insertion_order = false")
    if settings.threads:
        connection.execute(f"set threads = {settings.threads}")
    # Pushed below the projection that parses a record, the filter on its reason would parse it a second time. And of
    # a stream, whose length is not known, a join must never build its table.
    connection.execute("set disabled_optimizers = 'filter_pushdown,join_order,build_side_probe_side'")
    return connection


def close_stream(stream: Generator[pa.RecordBatch]) -> None:
    """Close a stream that was shown to SQL: Arrow reads ahead in a thread, also when the engine has failed."""
    while True:
        try:
            stream.close()
        except ValueError:  # it is just giving a batch
            time.sleep(0.001)
        else:
            return


def parquet_reader(path: Path, columns: list[str] | None = None) -> pa.RecordBatchReader:
    """A Parquet file as a stream. Not by its name in SQL, where a home named `[x]` would be a pattern."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    chosen = pa.schema([schema.field(name) for name in columns]) if columns else schema
    return pa.RecordBatchReader.from_batches(chosen, file.iter_batches(columns=columns))


def find_day(arrival: Arrival, content: Content) -> date:
    """The latest day that a file can speak of."""
    return postfix.find_anchor_date(arrival.path.name, datetime.fromtimestamp(content.status.st_mtime, UTC))


def publish(settings: Settings, landed: Landed, loads: list[Load], temporary: Path) -> set[str]:
    """Give a pack's files their names, the load record last. Gives the digests of what was landed meanwhile.

    If there are any, nothing was published: a content must not lie in two packs.
    """
    source_name, name = loads[0].source_name, loads[0].landing_name
    rejects = rejects_path(settings, source_name, name)
    rejects.parent.mkdir(parents=True, exist_ok=True)
    record = temporary / "load.json"
    write_load(record, loads)
    for path in (temporary / "landing.parquet", temporary / "rejects.parquet"):
        if path.exists():
            sync(path)
    failpoint("landing.written")
    with hold_lock(settings, exclusive=True, kind="publish"):
        landed.refresh()
        known = {load.file_digest for load in loads if landed.find(load.file_digest)}
        if known:
            return known
        if any(load.records_rejected for load in loads):
            (temporary / "rejects.parquet").replace(rejects)
            sync(rejects.parent)
            failpoint("landing.rejects_named")
        else:
            rejects.unlink(missing_ok=True)  # of an earlier try that was killed before it was counted
        landing = landing_path(settings, source_name, name)
        (temporary / "landing.parquet").replace(landing)
        sync(landing.parent)
        failpoint("landing.records_named")
        record.replace(load_path(settings, source_name, name))
        sync(landing.parent)
    failpoint("landing.recorded")
    return known
