"""A mailing list against both lists: which of its addresses may be mailed.

Every record of the file ends in one of three files, its own text unchanged: allowed, suppressed (with the list that
stopped it, since when and why) or invalid (with what is wrong with the address).
"""

import codecs
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import duckdb

from flows.exports.files import replace_file
from flows.problems import ActionableError, WrongUsageError
from flows.settings import Settings
from flows.sql import text
from flows.suppression import list_files
from flows.suppression.actions import find_problem
from flows.suppression.current import normal_address, open_current
from flows.suppression.list_files import BLOCK_BYTES, DEFAULT_OPTIONS, ListFile, ReadOptions

Which = Literal["suppression", "global", "both"]

STANDARD_OUTPUT = Path("-")
MOST_RECORDS = 1_000_000_000
"""What one bit string holds; a file of more records has to be cut."""

ADDED_COLUMNS = {"suppressed": ("suppressed_by", "suppressed_since", "suppressed_reason"), "invalid": ("problem",)}
"""Columns that the files have after those of the mailing list."""


@dataclass(frozen=True)
class CheckResult:
    """How many records the mailing list has, and what became of them; `paths` of the files by what they hold.

    `by_list` counts the suppressed by the list that stopped them, `problems` the invalid by what is wrong with them.
    """

    records: int
    allowed: int
    suppressed: int
    invalid: int
    paths: dict[str, Path]
    by_list: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    pending_count: int = 0


def check(
    settings: Settings,
    source: Path,
    *,
    targets: dict[str, Path] | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    which: Which = "both",
) -> CheckResult:
    """Divide the mailing list, and write the three files (`targets`: `allowed`, `suppressed`, `invalid`), or nothing.

    Without targets they lie beside the mailing list, as `<name>.allowed.csv` and so on. `-` is standard input, and as
    a target standard output. Files are in the encoding, and have the header and the order, of the mailing list.
    """
    paths = choose_paths(source, targets or {})
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bouncehouse-")))
        current = stack.enter_context(open_current(settings))
        connection = current.connection
        file = list_files.open_list_file(source, options, spool=scratch)
        divide(connection, file, list_files.find_address_column(file, options.column), which)
        result = count(connection, file, paths, current.pending_count)
        opened = {name: stack.enter_context(open_target(path)) for name, path in paths.items()}
        for name, target in opened.items():
            write(connection, file, name, target, scratch / f"{name}.utf8")
        return result


def choose_paths(source: Path, targets: dict[str, Path]) -> dict[str, Path]:
    """Say where each file goes; `WrongUsageError` where two would be the same or the mailing list would be lost."""
    is_piped = source == STANDARD_OUTPUT
    stem = "stdin" if is_piped else source.name.removesuffix(source.suffix)
    paths: dict[str, Path] = {}
    for name in ("allowed", "suppressed", "invalid"):
        beside = Path(f"{stem}.{name}.csv") if is_piped else source.with_name(f"{stem}.{name}.csv")
        default = STANDARD_OUTPUT if is_piped and name == "allowed" else beside
        path = targets.get(name) or default
        if path.is_dir():
            raise WrongUsageError(f"{path} is a folder", f"give --{name} the name of a file")
        if path != STANDARD_OUTPUT and not is_piped and path.resolve() == source.resolve():
            raise WrongUsageError(f"--{name} is the mailing list itself", "give another name")
        if path.resolve() in {other.resolve() for other in paths.values()}:
            raise WrongUsageError(f"{path} is given twice", "each of the three files needs a name of its own")
        paths[name] = path
    return paths


def divide(connection: duckdb.DuckDBPyConnection, file: ListFile, column: int, which: Which) -> None:
    """Make the tables `records` (`line`, in the order of the file) and `stopped` (those that may not be mailed).

    Their places are one bit each in the variable `marks`, so that the allowed are written without a join, in order.
    """
    list_files.load_records(connection, file)
    by_administrator, by_users = which != "global", which != "suppression"
    connection.execute(
        f"""
        create or replace temp table stopped as
        with written as (
            select rowid as place, {list_files.field(file, column)} as written
            from records
            where rowid >= {int(file.header is not None)}
        ),

        addressed as (
            select place, {normal_address("written")} as address from written
        ),

        judged as (
            select place, address, {find_problem("address")} as problem from addressed
        )

        select
            judged.place,
            judged.problem,
            case when listed.address is not null then 'suppression' end as listed_by,
            case when wished.address is not null then 'global' end as wished_by,
            least(listed.suppressed_at, wished.suppressed_at) as since,
            concat_ws('+', coalesce(listed.reason, listed.cause), wished.cause) as reason
        from judged
        left join (select address, suppressed_at, reason, cause from suppressed where {by_administrator}) as listed
            on judged.address = listed.address
        left join (select address, suppressed_at, cause from globally_suppressed where {by_users}) as wished
            on judged.address = wished.address
        where judged.problem is not null or listed.address is not null or wished.address is not null
        """
    )
    total = fetch_count(connection, "select count(*) from records")
    if total >= MOST_RECORDS:
        raise ActionableError(f"{file.name} has {total:,} records", f"cut it into files of fewer than {MOST_RECORDS:,}")
    connection.execute(
        f"set variable marks = (select coalesce(bitstring_agg(place, 0, {total}), bitstring('0', 1)) from stopped)"
    )


def fetch_count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Run a query that gives one number."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def count(
    connection: duckdb.DuckDBPyConnection, file: ListFile, paths: dict[str, Path], pending_count: int
) -> CheckResult:
    """Count what became of the records; each record is counted once, and `stopped` holds none twice."""
    groups = connection.execute(
        "select problem, concat_ws('+', listed_by, wished_by), count(*) from stopped group by all order by 3 desc, 1, 2"
    ).fetchall()
    first = int(file.header is not None)
    records = fetch_count(connection, "select count(*) from records") - first
    by_list = {stopped_by: amount for problem, stopped_by, amount in groups if problem is None}
    problems: dict[str, int] = {problem: amount for problem, _, amount in groups if problem is not None}
    result = CheckResult(
        records=records,
        allowed=fetch_count(connection, f"select count(*) from records where rowid >= {first} and {IS_ALLOWED}"),
        suppressed=sum(by_list.values()),
        invalid=sum(problems.values()),
        paths=paths,
        by_list=by_list,
        problems=problems,
        pending_count=pending_count,
    )
    if result.allowed + result.suppressed + result.invalid != records:
        raise AssertionError(f"{result} does not add up")
    return result


IS_ALLOWED = "(rowid >= bit_length(getvariable('marks')) or get_bit(getvariable('marks'), rowid::integer) = 0)"


def write(connection: duckdb.DuckDBPyConnection, file: ListFile, name: str, target: IO[bytes], scratch: Path) -> None:
    """Write one of the three files, the header first."""
    end = "case when ends_with(line, chr(13)) then chr(13) else '' end"
    has_header = file.header is not None
    if name == "allowed":
        query = f"select line from records where {IS_ALLOWED}"
        connection.execute(f"copy ({query}) to {text(str(scratch))} ({RAW})")
    else:
        delimiter = text(file.delimiter or ",")
        # a plain line may hold the delimiter that is now put behind it
        line = "rtrim(line, chr(13))"
        if file.delimiter is None:
            quoted = f"""'"' || replace({line}, '"', '""') || '"'"""
            line = f"""case when regexp_matches({line}, '[",]') then {quoted} else {line} end"""
        names = " || ".join(f"{delimiter} || {text(column)}" for column in ADDED_COLUMNS[name])
        since = "strftime(since, '%Y-%m-%d %H:%M:%S')"
        values = (
            f"{delimiter} || problem"
            if name == "invalid"
            else f"{delimiter} || concat_ws('+', listed_by, wished_by) || {delimiter} || coalesce({since}, '')"
            f" || {delimiter} || reason"
        )
        header = f"select -1 as place, {line} || {names} || {end} as line from records where {has_header} and rowid = 0"
        connection.execute(
            f"""copy (
                select line from (
                    {header}
                    union all
                    select place, {line} || {values} || {end} as line
                    from stopped
                    inner join records on stopped.place = records.rowid
                    where (problem is not null) = {name == "invalid"}
                )
                order by place
            ) to {text(str(scratch))} ({RAW})"""
        )
    copy_encoded(file, scratch, target)
    scratch.unlink()


RAW = "format csv, header false, quote '', escape '', delimiter '', compression none"
"""How lines are written as they are."""


def copy_encoded(file: ListFile, source: Path, target: IO[bytes]) -> None:
    """Copy lines of UTF-8 in the encoding of the mailing list, with its byte order mark and its line ends."""
    target.write(file.mark)
    with source.open("rb") as lines:
        if file.encoding == "utf-8" and file.newline == "\n":
            shutil.copyfileobj(lines, target, BLOCK_BYTES)
            return
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block := lines.read(BLOCK_BYTES):
            target.write(decoder.decode(block).replace("\n", file.newline).encode(file.encoding))


@contextmanager
def open_target(path: Path) -> Iterator[IO[bytes]]:
    """Open standard output, or a file that takes its place when all has been written."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replace_file(path) as temporary, temporary.open("wb") as target:
        yield target
