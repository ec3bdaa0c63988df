"""Landing against DuckDB's own JSON reader: python bench/landing.py [--records 500000] [--runs 5] [--compression none]

Makes KumoMTA-like records, then times `land_file` and a bare `copy (select * from read_json(...)) to parquet` in turn,
and measures the peak memory of a landing in a process of its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from flows.landing import Load, find_arrivals, land_file
from flows.landing.kumomta import FIELDS
from flows.settings import Settings

RECORD = """{
    'type': ['Delivery', 'TransientFailure', 'Bounce'][1 + i % 3],
    'id': md5(i::varchar),
    'sender': 'b' || i || '@news.example.com',
    'recipient': 'user' || i || '@domain' || i % 50 || '.example',
    'queue': 'spring:tenant@domain' || i % 50 || '.example',
    'site': 'mx.domain' || i % 50 || '.example',
    'size': 1000 + i % 5000,
    'response': {
        'code': 550, 'enhanced_code': {'class': 5, 'subject': 1, 'detail': 1},
        'content': '<user' || i || '@domain.example>: Recipient address rejected: User unknown in virtual mailbox',
        'command': 'RCPT TO:<user' || i || '@domain.example>'
    },
    'peer_address': {'name': 'mx.domain' || i % 50 || '.example.', 'addr': '192.0.2.' || i % 250},
    'timestamp': 1772445600 + i // 100,
    'event_time': strftime(to_timestamp(1772445600 + i // 100), '%Y-%m-%dT%H:%M:%S.123456789Z'),
    'created': 1772445600,
    'num_attempts': i % 5,
    'bounce_classification': 'InvalidRecipient',
    'egress_pool': 'pool',
    'egress_source': 'ip-' || i % 9,
    'source_address': {'address': '203.0.113.' || i % 9 || ':51234', 'protocol': null, 'server': null},
    'feedback_report': null,
    'meta': {'campaign': 'spring'},
    'headers': {'From': 'News <n@news.example.com>'},
    'delivery_protocol': 'ESMTP',
    'reception_protocol': 'ESMTP',
    'nodeid': 'd8e014c7-eaeb-4683-a56e-61324e91b1fc',
    'tls_cipher': 'TLS_AES_256_GCM_SHA384',
    'tls_protocol_version': 'TLSv1.3',
    'session_id': uuid()
}"""


def write_log(path: Path, records: int, compression: str) -> None:
    """A log of so many records, about 1 kB each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.execute(
        f"copy (select unnest({RECORD}) from range({records}) numbers(i)) to '{path}'"
        f" (format json, compression '{compression}')"
    )


def land(folder: Path, threads: int) -> int:
    """Land the one file of an inbox; returns its records."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        settings = Settings(home=Path(home), threads=threads)
        settings.root.joinpath("inbox").symlink_to(folder / "inbox")
        load = land_file(settings, find_arrivals(settings).files[0])
        assert isinstance(load, Load), load
        return load.records_landed


def copy(log: Path, out: Path, threads: int) -> None:
    """The pace to be held: DuckDB reads the same fields and writes the same kind of file."""
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in FIELDS)
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute(
            f"copy (select * from read_json('{log}', format = 'newline_delimited', columns = {{{columns}}}))"
            f" to '{out}' (format parquet, compression zstd)"
        )


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call took."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    """Run the comparison and print it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=500_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compression", choices=("none", "zstd", "gzip"), default="none")
    options.add_argument("--only-land", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.only_land:
        land(chosen.only_land, chosen.threads)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        suffix = {"none": "", "zstd": ".zst", "gzip": ".gz"}[chosen.compression]
        log = folder / "inbox" / "kumomta" / f"log.json{suffix}"
        write_log(log, chosen.records, chosen.compression)
        bare, landed = [], []
        for _ in range(chosen.runs):
            bare.append(timed(lambda: copy(log, folder / "bare.parquet", chosen.threads)))
            landed.append(timed(lambda: land(folder, chosen.threads)))
        command = [sys.executable, __file__, "--only-land", folder, "--threads", str(chosen.threads)]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{chosen.records} records, {log.stat().st_size / 1e6:.0f} MB in the file ({chosen.compression})")
        print(f"bare DuckDB copy  {statistics.median(bare):6.2f} s  {[round(run, 2) for run in bare]}")
        print(f"land_file         {statistics.median(landed):6.2f} s  {[round(run, 2) for run in landed]}")
        print(f"ratio             {statistics.median(landed) / statistics.median(bare):6.2f}")
        print(f"peak memory of a landing {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
