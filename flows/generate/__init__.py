"""Writes realistic delivery logs of any size, in every source's format, from a seed: for samples and trials."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow.parquet as pq

from flows.generate import bad_records as bad
from flows.generate import dsn, events, exim, kumomta, mailgun, postfix, postmark, powermta, sendgrid, ses, sparkpost
from flows.generate.history import Day, simulate_days
from flows.sql import text

Writer = Callable[[duckdb.DuckDBPyConnection, Path, Day], list[Path]]

WRITERS: dict[str, Writer] = {
    "kumomta": kumomta.write_day,
    "postfix": postfix.write_day,
    "ses": ses.write_day,
    "powermta": powermta.write_day,
    "sendgrid": sendgrid.write_day,
    "mailgun": mailgun.write_day,
    "sparkpost": sparkpost.write_day,
    "postmark": postmark.write_day,
    "exim": exim.write_day,
    "dsn": dsn.write_day,
    "events": events.write_day,
}
TRUTHS = {
    "kumomta": kumomta.TRUTH_SQL,
    "postfix": postfix.TRUTH_SQL,
    "ses": ses.TRUTH_SQL,
    "powermta": powermta.TRUTH_SQL,
    "sendgrid": sendgrid.TRUTH_SQL,
    "mailgun": mailgun.TRUTH_SQL,
    "sparkpost": sparkpost.TRUTH_SQL,
    "postmark": postmark.TRUTH_SQL,
    "exim": exim.TRUTH_SQL,
    "dsn": dsn.TRUTH_SQL,
    "events": events.TRUTH_SQL,
}


def generate(
    destination: Path,
    *,
    messages: int,
    days: int,
    first_day: date,
    seed: int,
    sources: Sequence[str] = tuple(WRITERS),
    bad_records: bool = False,
    truth: Path | None = None,
    memory_limit: str = "2GB",
) -> list[Path]:
    """Write `destination/<source>/…` for each source and give the files; the same arguments give the same content.

    `messages` is for each source: its files do not depend on which others are written. Recipients are shared between
    sources. A mailbox (`dsn`) holds what came back about the messages that Postfix, Exim and PowerMTA log when they
    are written with the same arguments. A file's content is the same on every machine; its compressed bytes are as
    long as the compressor's version is. With `bad_records`, records that no reader can take are added, and one segment
    ends within a frame.

    `truth` is a Parquet file to write: what a reader should find, an event a row, each once, times cut to what the
    format logs. From domain, campaign and sending IP are null where that event's own record does not say them
    (Postfix: where the queue id's lines do not). `message_id` is a queue id for Postfix, else the Message-ID or the id
    that the sender's records have. `smtp_code`, `enhanced_code` and `response_text` (one line, codes included) are
    what the remote host replied, or SES's own diagnostic; for other local events the codes are null and the text is
    the sender's own.
    """
    unknown = [source for source in sources if source not in WRITERS]
    if unknown:
        raise ValueError(f"unknown source {unknown[0]!r}; choose from {', '.join(WRITERS)}")
    if messages < 1 or days < 1:
        raise ValueError("messages and days must be at least 1")
    for source in sources:
        if (destination / source).exists() and any((destination / source).iterdir()):
            raise FileExistsError(f"{destination / source} is not empty; give another folder, or remove it first")
    paths: dict[Path, None] = {}
    with TemporaryDirectory() as spill, duckdb.connect(config={"memory_limit": memory_limit}) as connection:
        connection.execute("set temp_directory = $spill", {"spill": spill})
        truth_writer: pq.ParquetWriter | None = None
        try:
            for source in sources:
                directory = destination / source
                for day in simulate_days(
                    connection, source, messages=messages, days=days, first_day=first_day, seed=seed
                ):
                    paths |= dict.fromkeys(WRITERS[source](connection, directory, day))
                    if truth is not None:
                        table = connection.execute(truth_sql(source)).to_arrow_table()
                        if truth_writer is None:
                            truth.parent.mkdir(parents=True, exist_ok=True)
                            truth_writer = pq.ParquetWriter(truth, table.schema)
                        truth_writer.write_table(table)
                if bad_records:
                    paths |= dict.fromkeys(bad.add_bad_records(source, directory, first_day, day))
        finally:
            if truth_writer is not None:
                truth_writer.close()
    return list(paths)


def truth_sql(source: str) -> str:
    """Select the events of `today` as a reader of this source's log should find them."""
    return f"""
        select
            {text(source)} as source_name, message_id, recipient, event_type, event_at, is_attempt,
            origin as response_origin,
            case when origin = 'remote' or {text(source)} = 'ses' then code::int end as smtp_code,
            case when origin = 'remote' or {text(source)} = 'ses' then enhanced_code end as enhanced_code,
            reply as response_text, from_domain, campaign_id, sending_ip,
        from ({TRUTHS[source]})
        order by event_at, message_id, recipient, event_type
    """
