"""The page: reports of a period as one HTML file that needs no server, no network and nothing beside it.

The daily marts are put into it as columns of numbers and lists of the words they stand for; choosing, grouping,
sorting and drawing is done by the reader's browser (`*.js`), with the libraries in `vendor/`.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flows.exports.files import replace_file
from flows.exports.publication import describe_publication
from flows.problems import WrongUsageError
from flows.report import NOT_LOGGED
from flows.sql import quote, text

HERE = Path(__file__).parent

STYLES = ("vendor/tabulator_simple.min.css", "vendor/tom-select.min.css", "page.css")
SCRIPTS = (
    "vendor/tabulator.min.js",
    "vendor/chart.min.js",
    "vendor/tom-select.min.js",
    "vendor/write-excel-file.min.js",
    "data.js",
    "download.js",
    "charts.js",
    "page.js",
)

MOST_DAYS = 3_660
"""Days that a page covers at most: each is a place in its charts."""

DELIVERY_ROWS = 300_000
"""Rows of delivery counts up to which every recipient domain keeps its own; above, only the largest do."""
DELIVERY_DOMAINS = 200

OTHER_DOMAINS = "(other domains)"
NO_CLASS = "without class"
"""Of a non-delivery that no reply was logged for; sorted behind the others, as nulls are in the report."""

EVERYWHERE = ("source_name", "campaign_id", "from_domain", "sending_ip", "recipient_domain", "provider")
WORDS = (*EVERYWHERE, "bounce_class", "cause")
"""Columns whose values are put into lists, which the tables of the page share."""

TABLES = {
    "bounces": ("day", *EVERYWHERE, "bounce_class", "text", "amount"),
    "undeliveries": ("day", *EVERYWHERE, "bounce_class", "cause", "text", "amount"),
    "delivery": ("day", *EVERYWHERE, "deferred", "attempts"),
}
"""Tables of the page. `day` is the number of days since the first, `text` a place in the list of replies."""

LINES = ("from_domain", "recipient_domain", "cause", "bounce_class", "text")

_SOURCE_MAP = re.compile(r"^(//# sourceMappingURL=.*|/\*# sourceMappingURL=.*?\*/)\s*$", re.MULTILINE)


def write_page(database: Path, target: Path, first_day: date, last_day: date, mode: int = 0o600) -> dict[str, int]:
    """Write the page of the days (inclusive, in UTC) and give the rows of each of its tables.

    `WrongUsageError` on a period that is no period, or longer than `MOST_DAYS`.
    """
    if not 0 <= (last_day - first_day).days < MOST_DAYS:
        raise WrongUsageError(
            f"a page cannot cover {first_day} to {last_day}",
            f"give --from a day that is not after --to, and at most {MOST_DAYS:,} days",
        )
    data, rows = _collect(database, first_day, last_day)
    with replace_file(target, mode) as temporary:
        temporary.write_text(_assemble(data), encoding="utf-8", newline="")
    return rows


def _collect(database: Path, first_day: date, last_day: date) -> tuple[bytes, dict[str, int]]:
    """Give the data as it stands in the page, not yet packed: see `_lay_out`."""
    publication = describe_publication(database)
    with duckdb.connect() as connection:
        connection.execute(f"attach {text(database)} as published (read_only)")
        _choose_rows(connection, first_day, last_day)
        _name_words(connection)
        tables = {name: _read(connection, name, columns) for name, columns in TABLES.items()}
        header: dict[str, object] = {
            "first_day": first_day.isoformat(),
            "last_day": last_day.isoformat(),
            "publication": publication,
            "no_class": NO_CLASS,
            "words": {name: _list(connection, name) for name in WORDS},
            "texts": _read_texts(connection),
            "changes": _read_changes(connection, first_day, last_day),
            "alerts": _read_alerts(connection, first_day, last_day),
        }
    return _lay_out(header, tables), {name: table.num_rows for name, table in tables.items()}


def _choose_rows(connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date) -> None:
    """Make the tables `bounces`, `undeliveries`, `delivery` and `texts`, with words and nothing null."""
    period = f"between {text(first_day)}::date and {text(last_day)}::date"

    def day(column: str) -> str:
        return f"({column} - {text(first_day)}::date)::uinteger as day"

    for name, mart, moment, count, more in (
        ("bounces", "rpt_bounces_daily", "event_date", "bounce_count", ""),
        ("undeliveries", "rpt_undeliveries_daily", "undelivered_date", "undelivery_count", "cause,"),
    ):
        connection.execute(f"""
            create temp table {name}_counted as
            select
                {day(moment)},
                {_known(connection, mart)},
                {more}
                coalesce(bounce_class, {text(NO_CLASS)}) as bounce_class,
                text_id,
                reason,
                sum({count})::bigint as amount
            from published.marts.{mart}
            where {moment} {period}
            group by all
        """)
    is_refusal_known = _has(connection, "rpt_delivery_daily", "bounced_first_attempt_count")
    refused = " + bounced_first_attempt_count" if is_refusal_known else ""
    first_attempts = f"delivered_first_attempt_count + deferred_first_attempt_count{refused}"
    delivery = f"""
        select
            {day("event_date")},
            {_known(connection, "rpt_delivery_daily")},
            sum(deferred_first_attempt_count)::bigint as deferred,
            sum({first_attempts})::bigint as attempts
        from published.marts.rpt_delivery_daily
        where event_date {period} and {first_attempts} > 0
        group by all
    """
    connection.execute(f"create temp table delivery as {delivery}")
    if (connection.execute("select count(*) from delivery").fetchone() or (0,))[0] > DELIVERY_ROWS:
        connection.execute(f"""
            create or replace temp table delivery as
            with largest as (
                select recipient_domain
                from delivery
                group by recipient_domain
                order by sum(attempts) desc, recipient_domain
                limit {DELIVERY_DOMAINS}
            )
            select * replace (
                case
                    when recipient_domain in (select recipient_domain from largest) then recipient_domain
                    else {text(OTHER_DOMAINS)}
                end as recipient_domain,
                sum(deferred)::bigint as deferred,
                sum(attempts)::bigint as attempts
            )
            from delivery
            group by all
        """)
    connection.execute("""
        create temp table texts as
        with used as (
            select text_id, reason from bounces_counted
            union
            select text_id, reason from undeliveries_counted
        )
        select
            (row_number() over (order by texts.bounce_text, used.reason, used.text_id) - 1)::uinteger as text,
            used.text_id,
            used.reason,
            texts.bounce_text,
            texts.description,
            nullif(texts.sample_text, texts.bounce_text) as sample_text
        from used
        left join published.marts.dim_bounce_texts as texts on used.text_id = texts.text_id
    """)
    for name in ("bounces", "undeliveries"):
        connection.execute(f"""
            create temp table {name} as
            select counted.* exclude (text_id, reason), texts.text
            from {name}_counted as counted
            inner join texts
                on counted.text_id is not distinct from texts.text_id
                and counted.reason is not distinct from texts.reason
        """)


def _known(connection: duckdb.DuckDBPyConnection, mart: str) -> str:
    """The columns that all the marts have, with a word where there is none. `provider` is not in older homes."""
    has_provider = _has(connection, mart, "provider")
    return f"""
        source_name,
        coalesce(campaign_id, {text(NOT_LOGGED)}) as campaign_id,
        coalesce(from_domain, {text(NOT_LOGGED)}) as from_domain,
        coalesce(sending_ip, {text(NOT_LOGGED)}) as sending_ip,
        coalesce(recipient_domain, {text(NOT_LOGGED)}) as recipient_domain,
        {"coalesce(provider, 'other')" if has_provider else "'other'"} as provider
    """


def _has(connection: duckdb.DuckDBPyConnection, mart: str, column: str) -> bool:
    """Whether the published file, which an older version may have written, has the column."""
    found = connection.execute(
        """
        select 1 from duckdb_columns()
        where database_name = 'published' and schema_name = 'marts' and table_name = ? and column_name = ?
        """,
        [mart, column],
    ).fetchone()
    return found is not None


def _name_words(connection: duckdb.DuckDBPyConnection) -> None:
    """Make a type of every list of words, whose codes then stand for them."""
    for name in WORDS:
        united = " union ".join(f"select {name} from {table}" for table, columns in TABLES.items() if name in columns)
        connection.execute(f"create type {quote(f'{name}_word')} as enum (select {name} from ({united}) order by all)")


def _list(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    row = connection.execute(f"select enum_range(null::{quote(f'{name}_word')})").fetchone()
    return list(row[0]) if row else []


def _read(connection: duckdb.DuckDBPyConnection, name: str, columns: tuple[str, ...]) -> pa.Table:
    """Read a table as numbers, in the order of the lines that the page shows first (data.js, findLines)."""
    selected = ", ".join(
        f"enum_code({column}::{quote(f'{column}_word')})::uinteger as {column}"
        if column in WORDS
        else f"{column}::uinteger as {column}"
        for column in columns
    )
    first = [column for column in LINES if column in columns]
    order = ", ".join([*first, *(column for column in columns if column not in first)])
    table: pa.Table = connection.execute(f"select {selected} from {name} order by {order}").to_arrow_table()
    return table


def _read_texts(connection: duckdb.DuckDBPyConnection) -> dict[str, list[object]]:
    """The replies, by columns; `sample_text` is null where the whole original is the masked text itself."""
    table = connection.execute(
        "select text_id::varchar as text_id, bounce_text, description, reason, sample_text from texts order by text"
    ).to_arrow_table()
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _read_changes(connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date) -> dict[str, list[object]]:
    table = connection.execute(
        """
        with texts_once as (
            select text_id, min(text) as text from texts group by text_id
        )
        select
            (changes.event_date - $first_day)::integer as day,
            texts_once.text,
            changes.change,
            changes.bounce_count as amount,
            changes.usual_count as usual,
            changes.history_day_count as history_days,
            changes.previous_date::varchar as previous_day
        from published.marts.rpt_new_bounce_texts as changes
        inner join texts_once on changes.text_id = texts_once.text_id
        where changes.event_date between $first_day and $last_day
        order by day desc, amount desc, text
        """,
        {"first_day": first_day, "last_day": last_day},
    ).to_arrow_table()
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _read_alerts(
    connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date
) -> dict[str, list[object]] | None:
    """The alerts of the days, newest first and the graver before the lighter; none where no run has judged any yet."""
    if not _has(connection, "rpt_alerts", "metric"):
        return None
    table = connection.execute(
        """
        select
            (event_date - $first_day)::integer as day,
            level,
            metric,
            dimension,
            coalesce(dimension_value, $not_logged) as name,
            event_count as amount,
            volume_count as volume,
            rate,
            usual_rate as usual
        from published.marts.rpt_alerts
        where event_date between $first_day and $last_day
        order by
            day desc,
            list_position(['critical', 'warning', 'notice'], level),
            metric,
            amount desc,
            dimension,
            name,
            text_id
        """,
        {"first_day": first_day, "last_day": last_day, "not_logged": NOT_LOGGED},
    ).to_arrow_table()
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _lay_out(header: dict[str, object], tables: dict[str, pa.Table]) -> bytes:
    """Four bytes of length, JSON of that length, then the columns, little-endian, each starting at a multiple of 4.

    The JSON says of each table how many rows it has and of each column where it starts behind the JSON and how many
    bytes a value takes: the fewest that do.
    """
    described: dict[str, object] = {}
    parts: list[bytes] = []
    place = 0
    for name, table in tables.items():
        columns: dict[str, tuple[int, int]] = {}
        for column_name in table.column_names:
            column = table.column(column_name)
            largest = pc.max(column).as_py() or 0
            kind, width = next(
                (kind, width)
                for kind, width in ((pa.uint8(), 1), (pa.uint16(), 2), (pa.uint32(), 4))
                if largest < 1 << (8 * width)
            )
            content = column.cast(kind).combine_chunks().to_numpy(zero_copy_only=False).tobytes()
            parts.append(content + bytes(-len(content) % 4))
            columns[column_name] = (place, width)
            place += len(parts[-1])
        described[name] = {"rows": table.num_rows, "columns": columns}
    head = json.dumps({**header, "tables": described}, ensure_ascii=False, default=str).encode()
    head += b" " * (-len(head) % 4)
    return b"".join([len(head).to_bytes(4, "little"), head, *parts])


def _assemble(data: bytes) -> str:
    """Put styles, scripts and data into the template, and allow by its policy these alone, by their digests."""
    styles = [_read_part(name) for name in STYLES]
    scripts = [_read_part(name) for name in SCRIPTS]
    packed = base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_digest, scripts))}",
            f"style-src {' '.join(map(_digest, styles))}",
            "img-src data:",  # the icon
            "worker-src blob:",  # a workbook is packed beside the page's own work
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "policy": html.escape(policy),
        "styles": "\n".join(f"<style>{style}</style>" for style in styles),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
        "data": packed,
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _read_part(name: str) -> str:
    # ends of line as a parser of HTML makes them, or the digests would not fit
    content = (HERE / name).read_text(encoding="utf-8").replace("\r\n", "\n").replace("\r", "\n")
    return _SOURCE_MAP.sub("", content)


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"
