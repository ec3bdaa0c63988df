"""What stays of messages that retention has dropped: counts, texts and what bears on the lists, as plain Parquet.

`<home>/retained/<number>/` holds all of it, one file for each table of `TABLES`, and `manifest.json`. A retention pass
writes a new folder from the last one and from what it drops, and gives it its name when it is whole; the highest number
is what counts. The models read the tables as sources `landing.retained_<name>` (flows/build.py), so that a rebuild from
what is left in landing/ gives the same reports, lists and accounts as before.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from flows.settings import Settings
from flows.sql import text

MANIFEST = "manifest.json"
UNFINISHED_PREFIX = ".unfinished-"

GROUPING = {
    "source_name": "varchar",
    "campaign_id": "varchar",
    "from_domain": "varchar",
    "sending_ip": "varchar",
    "recipient_domain": "varchar",
    "provider": "varchar",  # null where an older version wrote it
}
TEXT = {"bounce_text": "varchar", "mx_class": "varchar"}
"""A reply as it was masked, and the class of server that gave it: what the rules judge, whatever they say by then."""
USES = {"first_seen_at": "timestamp", "last_seen_at": "timestamp"}

DELIVERY_COUNTS = (
    "injected_count",
    "attempt_count",
    "delivered_count",
    "delivered_first_attempt_count",
    "deferred_count",
    "deferred_first_attempt_count",
    "bounced_count",
    "bounced_first_attempt_count",
    "expired_count",
    "dropped_count",
    "out_of_band_bounce_count",
    "complaint_count",
)
"""Counts of events by kind, as in int_delivery_events__counted."""

ACCOUNT_COUNTS = (
    "united_event_count",
    "event_count",
    "concluded_event_count",
    "injected_count",
    "delivered_count",
    "deferred_count",
    "bounced_count",
    "expired_count",
    "dropped_count",
    "out_of_band_bounce_count",
    "complaint_count",
    "joined_report_count",
    "unjoined_report_count",
)
"""Figures of `ops_reconciliation` that are counted in tables of events."""

TABLES: dict[str, dict[str, str]] = {
    "bounce_counts": {"event_date": "date", **GROUPING, "bounce_class": "varchar", **TEXT, "bounce_count": "bigint"},
    "undelivery_counts": {
        "undelivered_date": "date",
        **GROUPING,
        "cause": "varchar",
        "bounce_class": "varchar",
        **TEXT,
        "other_reason": "varchar",  # where it is not what the rules said of the text
        "undelivery_count": "bigint",
    },
    "delivery_counts": {
        "event_date": "date",
        **GROUPING,
        **dict.fromkeys((*DELIVERY_COUNTS, "suppressed_send_count"), "bigint"),
    },
    "delivery_times": {
        "event_date": "date",
        "source_name": "varchar",
        "campaign_id": "varchar",
        "from_domain": "varchar",
        "sending_ip": "varchar",
        "provider": "varchar",
        "attempt_number": "integer",
        "seconds_from": "bigint",
        "delivered_count": "bigint",
    },
    "texts": {**TEXT, **USES, "event_count": "bigint"},
    "evidence": {
        "cause": "varchar",
        "event_id": "uuid",
        "source_name": "varchar",
        "event_at": "timestamp",
        "event_type": "varchar",
        "address": "varchar",
        "recipient_domain": "varchar",
        "mx_host": "varchar",
        "campaign_id": "varchar",
        **TEXT,
        "response_text": "varchar",
    },
    "complaints": {
        "event_id": "uuid",
        "source_name": "varchar",
        "event_at": "timestamp",
        "address": "varchar",
        "recipient_domain": "varchar",
        "campaign_id": "varchar",
    },
    "opt_outs": {
        "opt_out_id": "uuid",
        "source_name": "varchar",
        "address": "varchar",
        "event_at": "timestamp",
        "is_removal": "boolean",
        "why": "varchar",
    },
    "deliveries": {
        "address": "varchar",
        "delivered_at": "timestamp",
        "is_outcome": "boolean",  # false for a delivery that was not the end of its message
    },
    "profiles": {"address": "varchar", **USES},
    "files": {
        "source_name": "varchar",
        "source_file": "varchar",
        "file_digest": "varchar",
        "file_bytes": "bigint",
        "compression": "varchar",
        "records_read": "bigint",
        "records_landed": "bigint",
        "records_rejected": "bigint",
        "event_record_count": "bigint",
        "ignored_record_count": "bigint",
        "staged_event_count": "bigint",
        "distinct_event_count": "bigint",
        "first_event_at": "timestamp",
        "last_event_at": "timestamp",
        "is_complete": "boolean",
        "message": "varchar",
        "landed_at": "timestamp",
        "dropped_at": "timestamp",
    },
    "ignored": {
        "source_name": "varchar",
        "source_file": "varchar",
        "file_digest": "varchar",
        "native_event_type": "varchar",
        "ignored_record_count": "bigint",
    },
    "accounts": {"source_name": "varchar", "source_file": "varchar", **dict.fromkeys(ACCOUNT_COUNTS, "bigint")},
    "event_keys": {"source_name": "varchar", "event_at": "timestamp", "event_id": "uuid"},
}
"""Columns of the tables, with their DuckDB types. What each holds is told in models/staging/_sources.yml."""

NEWER = {"delivery_times"}
"""Tables that older versions did not write: a folder may be whole without them."""

DROPPED_GROUPS = "dropped_groups"
"""Beside the tables: the `message_group_id` of what the last pass dropped, until work.duckdb has lost it too."""


@dataclass(frozen=True)
class Retained:
    """A whole folder of retained tables; `previous` is the number of the one it was made from, 0 for none."""

    number: int
    previous: int
    cutoff: datetime
    folder: Path

    def path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    @property
    def dropped_digests(self) -> set[str]:
        """The landed files that were dropped, by this pass and those before."""
        digests = pq.read_table(self.path("files"), columns=["file_digest"]).column(0)
        return {str(digest) for digest in digests.to_pylist()}


def find_retained(settings: Settings) -> Retained | None:
    """The folder that counts; None where nothing was ever dropped."""
    numbers = [int(path.name) for path in settings.retained.glob("[0-9]*") if path.name.isdigit()]
    if not numbers:
        return None
    folder = settings.retained / f"{max(numbers):06d}"
    manifest = json.loads((folder / MANIFEST).read_bytes())
    return Retained(manifest["number"], manifest["previous"], datetime.fromisoformat(manifest["cutoff"]), folder)


def select_retained(retained: Retained | None, table: str) -> str:
    """SQL for the rows of a table, typed; none where nothing is retained. A column that its file lacks is null."""
    columns = TABLES[table]
    if retained is None or (table in NEWER and not retained.path(table).exists()):
        nothing = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in columns.items())
        return f"select {nothing} where false"
    path = retained.path(table)
    present = set(pq.read_schema(path).names)
    typed = ", ".join(
        f"cast({name if name in present else 'null'} as {kind}) as {name}" for name, kind in columns.items()
    )
    return f"select {typed} from read_parquet({text(path)})"
