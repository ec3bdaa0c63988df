"""How long `suppression check` takes, and how much memory, for a large mailing list against a large suppression list.

    python bench/check.py [--records 10000000] [--suppressed 5000000] [--pending 0] [--quoted] [--runs 3]

Measured several times, each in a process of its own: medians of wall time and of processor time, the peak of
resident memory. A quarter of the records are on the list. `--pending` actions are in the files and not yet taken in;
`--quoted` puts a name with a comma before each address, so that every record has to be taken apart as CSV. The bench
fails where the counts are not right.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import figures

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from flows import rules  # noqa: E402
from flows.dbt_project import find_project_directory  # noqa: E402
from flows.settings import Settings  # noqa: E402
from flows.suppression.actions import write_action  # noqa: E402
from flows.suppression.check import check  # noqa: E402

ADDRESS = "'customer.' || {number} || '@mail' || {number} % 5000 || '.example'"

LISTED = """
    create schema marts;
    create table marts.dim_suppressed_addresses as
    select
        {address} as address, 'mail' || i % 5000 || '.example' as recipient_domain,
        timestamp '2026-01-01' + i * interval 1 second as suppressed_at, 'bouncehouse' as acted_by,
        'hard bounce' as why, 'hard_bounce' as cause, uuid() as event_id, 'kumomta' as source_name,
        'spring' as campaign_id, uuid() as text_id, 'user_unknown' as reason, 'user_unknown' as rule_id
    from range({count}) numbers(i);
    create table marts.fct_suppression_events as
    select
        * exclude (suppressed_at), suppressed_at as occurred_at, event_id as suppression_event_id, 'added' as action,
        '550 5.1.1 no such user' as response_text, 'abc' as rule_set_version, 'smtp_5xx' as suppression_policy
    from marts.dim_suppressed_addresses;
    create table marts.fct_suppression_causes as
    select
        'suppression' as list_name, event_id as cause_id, * exclude (suppressed_at), suppressed_at as occurred_at,
        'bounced' as event_type, null::varchar as provider, '550 5.1.1 no such user' as response_text,
        false as is_removal, null::timestamp as ends_at, null::varchar as end_action, null::varchar as ended_by,
        null::varchar as end_why, null::uuid as end_id
    from marts.dim_suppressed_addresses;
    create table marts.dim_global_suppressed_addresses as from marts.dim_suppressed_addresses limit 0;
    create table marts.fct_global_suppression_events as from marts.fct_suppression_events limit 0;
    create table marts.ops_actions (action_id varchar);
    create table marts.ops_publication as select 'abc' as rule_set_version, 'smtp_5xx' as suppression_policy;
"""


def publish(settings: Settings, count: int) -> None:
    """A published database with so many addresses on the suppression list: those of odd numbers."""
    settings.root.mkdir(parents=True)
    with duckdb.connect(str(settings.published_database)) as connection:
        connection.execute(LISTED.format(address=ADDRESS.format(number="(2 * i + 1)"), count=count))
        rules.install(connection, find_project_directory(), schema="marts")


def write_mailing_list(path: Path, records: int, suppressed: int, is_quoted: bool) -> int:
    """So many records, one in four of them on the list while it lasts; returns how many are."""
    number = f"case when i % 4 = 0 and i // 4 < {suppressed} then 2 * (i // 4) + 1 else 2 * i end"
    name = "'\"Doe, ' || i || '\"'" if is_quoted else "'Name ' || i"
    address = ADDRESS.format(number=f"({number})")
    duckdb.execute(
        f"""copy (
            select i || ',' || {name} || ',' || {address} || ',Example Street ' || i % 100 as line
            from range({records}) numbers(i)
        ) to '{path}' (format csv, header false, quote '', escape '', delimiter '')"""
    )
    content = b"id,name,email,street\n"
    with path.open("rb+") as file:
        body = file.read()
        file.seek(0)
        file.write(content + body)
    return min((records + 3) // 4, suppressed)


def measure(home: Path, path: Path) -> None:
    """Run in a process of its own: check, and print the counts and what they cost as JSON."""
    wall, processor = time.perf_counter(), time.process_time()
    result = check(Settings(home=home, threads=2), path)
    print(
        json.dumps(
            {
                "wall": time.perf_counter() - wall,
                "processor": time.process_time() - processor,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "counts": [result.allowed, result.suppressed, result.invalid],
            }
        )
    )


def main() -> None:
    """Make the lists, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--suppressed", type=int, default=5_000_000)
    parser.add_argument("--pending", type=int, default=0)
    parser.add_argument("--quoted", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to make the files; default: a temporary folder")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    figures.add_option(parser)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        settings, path = Settings(home=Path(folder) / "home"), Path(folder) / "mailing.csv"
        publish(settings, options.suppressed)
        listed = write_mailing_list(path, options.records, options.suppressed, options.quoted)
        for number in range(options.pending):
            write_action(settings, "add", f"waiting{number}@mail.example", by="bench", reason="bench")
        print(f"{options.records:,} records ({path.stat().st_size:,} bytes) against {options.suppressed:,} addresses")
        command = [sys.executable, __file__, "--measure", str(settings.root), str(path)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(options.runs)
        ]
        found = {name: statistics.median(run[name] for run in runs) for name in ("wall", "processor")}
        found["peak"] = max(run["peak"] for run in runs)
        allowed, suppressed, invalid = runs[-1]["counts"]
        print(
            f"{found['wall']:.1f} s wall, {found['processor']:.1f} s of processors,"
            f" {found['peak'] / 1e6:,.0f} MB at most;"
            f" {allowed:,} allowed, {suppressed:,} suppressed, {invalid:,} invalid"
        )
        if [allowed, suppressed, invalid] != [options.records - listed, listed, 0]:
            raise SystemExit(f"{listed:,} records are on the list")
    sizes = {"records": options.records, "suppressed": options.suppressed, "pending": options.pending}
    figures.keep(options.json, sizes | found)


if __name__ == "__main__":
    main()
