"""What a first build comes to without all that could be left out: python bench/least.py [--events 1000000] [--runs 3]

By the engine alone, with no model, test or second copy beside it: the logs landed as a run does; what staging reads of
them written once, in no order (`events`); and these put together by message and recipient, without outcome, cause or
reply, in no order (`messages`). No reply is classified, nothing found to stand twice, no list derived. Against DuckDB's
copy of the same logs to Parquet (the floor), in turn with it, medians by the clock. The logs are KumoMTA's of a week,
as of bench/whole.py; the home that has the staging views is built from them first, which is not measured.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
from whole import MEMORY_LIMIT, apart, link, measure

from flows import addresses
from flows.batch import find_kept, show_batch
from flows.settings import Settings
from flows.work import open_work

STAGED = "int_staged_events__collected"
MESSAGES = """
    select
        message_recipient_id,
        message_group_id,
        any_value(source_name) as source_name,
        any_value(message_id) as message_id,
        any_value(recipient) as recipient,
        any_value(envelope_sender) as envelope_sender,
        any_value(from_domain) as from_domain,
        any_value(campaign_id) as campaign_id,
        any_value(sending_ip) as sending_ip,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        min(event_at) filter (event_type = 'delivered') as delivered_at,
        count(*) filter (is_attempt) as attempt_count,
        count(*) filter (event_type = 'deferred') as deferral_count
    from least.events
    group by message_recipient_id, message_group_id
"""


def read_query(settings: Settings) -> str:
    """What staging reads of the logs, as dbt compiled it."""
    results = json.loads((settings.dbt_target / "results.json").read_text())["results"]
    [query] = [result["code"] for result in results if result["name"] == STAGED]
    return str(query)


def time_least(settings: Settings) -> dict[str, float]:
    """Seconds by the clock of each part that comes after landing."""
    scratch = settings.root / "least.duckdb"
    scratch.unlink(missing_ok=True)
    found = {}
    with open_work(settings) as connection:
        addresses.register(connection)
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("set TimeZone = 'UTC'; set preserve_insertion_order = false")
        show_batch(connection, settings, find_kept(settings, None))
        connection.execute(f"attach '{scratch}' as least")
        for name, query in (("events", read_query(settings)), ("messages", MESSAGES)):
            started = time.perf_counter()
            connection.execute(f"create table least.{name} as {query}")
            found[name] = time.perf_counter() - started
    scratch.unlink()
    return found


def time_parts(logs: Path, base: Path, scratch: Path) -> dict[str, float]:
    """One run of the floor and of each part."""
    found = {"floor": float(measure("floor", logs, scratch)["seconds"])}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        link(list((logs / "kumomta").iterdir()), Path(folder) / "inbox")
        found["landing"] = apart("land", folder)["seconds"]
    return found | time_least(Settings(home=base / "home", inbox_directory=base / "inbox"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    figures.add_option(parser)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as folder:
        scratch = Path(folder)
        logs, base = scratch / "logs", scratch / "base"
        apart("generate", logs, chosen.events)
        link(list((logs / "kumomta").iterdir()), base / "inbox")
        for step in ("land", "build"):
            apart(step, base)
        records = apart("count", base)["records"]
        runs = [time_parts(logs, base, scratch) for _ in range(chosen.runs)]
    print(f"{os.cpu_count()} processors, medians of {chosen.runs}; {records:,} records")
    found: dict[str, Any] = {"records": records}
    found["seconds"] = seconds = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    seconds["together"] = sum(seconds[name] for name in ("landing", "events", "messages"))
    for name, took in seconds.items():
        ratio, each = took / seconds["floor"], took / records * 1e6
        print(f"  {name:10}{took:8.1f} s {ratio:6.2f} times the floor {each:7.2f} µs a record")
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
