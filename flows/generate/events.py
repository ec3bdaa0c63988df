"""The canonical event, for anyone whose log no reader knows: JSON lines, CSV and Parquet, a format a day in turn."""

from pathlib import Path

import duckdb

from flows.generate.files import write_records
from flows.generate.history import Day

MESSAGE_ID = "'ev-' || lower(hex(message_number * 7919 + 104729))"

COLUMNS = {
    "event_type": "event_type",
    "event_at": "strftime(event_at, '%Y-%m-%dT%H:%M:%SZ')",
    "recipient": "recipient",
    "message_id": MESSAGE_ID,
    "attempt_number": "attempt_number",
    "is_attempt": "attempt_number is not null",
    "envelope_sender": "envelope_sender",
    "from_domain": "from_domain",
    "sending_ip": "sending_ip",
    "campaign_id": "campaign_id",
    "mx_host": "mx_host",
    "mx_ip": "mx_ip",
    "smtp_code": "case when origin = 'remote' then code::int end",
    "enhanced_code": "enhanced_code",
    "response_text": "reply",
    "response_origin": "origin",
    "native_event_id": "md5('event:' || message_number || ':' || recipient_number || ':' || step)",
    "native_event_type": "upper(event_type)",
    "native_class": "null::varchar",
}

# One event of many is sent a second time, as senders do that wait too short for an answer.
COPIED_SQL = "select *, unnest(case when drawn % 173 = 9 then [0, 1] else [0] end) as copy from today"
ORDER_SQL = "order by event_at, message_number, step, recipient_number, copy"


def write_day(connection: duckdb.DuckDBPyConnection, directory: Path, day: Day) -> list[Path]:
    """Write one file a day: `.jsonl.gz`, `.csv` or `.parquet`."""
    name = f"events-{day.date:%Y-%m-%d}"
    if day.number % 3 == 2:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.parquet"
        columns = COLUMNS | {"event_at": "event_at"}
        selected = ", ".join(f"{expression} as {column}" for column, expression in columns.items())
        connection.execute(
            f"copy (select {selected} from ({COPIED_SQL}) {ORDER_SQL}) to '{str(path).replace(chr(39), chr(39) * 2)}' "
            "(format parquet, compression zstd)"
        )
        return [path]
    if day.number % 3 == 1:
        fields = (
            f"coalesce('\"' || replace(({expression})::varchar, '\"', '\"\"') || '\"', '')"
            for expression in COLUMNS.values()
        )
        header = f"select '{name}.csv' as file_name, 0 as part, '{','.join(COLUMNS)}' || chr(10) as record"
        write_records(connection, header, directory)
        return write_records(connection, record_sql(f"{name}.csv", " || ',' || ".join(fields)), directory)
    fields = (f"'{column}': {expression}" for column, expression in COLUMNS.items())
    return write_records(connection, record_sql(f"{name}.jsonl.gz", f"to_json({{{', '.join(fields)}}})"), directory)


def record_sql(file_name: str, rendered: str) -> str:
    """Select what `write_records` writes: a line an event."""
    return f"""
        select '{file_name}' as file_name, 0 as part, {rendered} || chr(10) as record
        from ({COPIED_SQL})
        {ORDER_SQL}
    """


TRUTH_SQL = f"""
    select
        {MESSAGE_ID} as message_id, recipient, event_type, event_at, true as is_attempt, origin,
        code, enhanced_code, reply, from_domain, campaign_id, sending_ip,
    from today
"""
