"""Landing of every source against its peer: python bench/sources.py [--messages 100000] [--runs 5] [--source NAME]

One log of each source is generated and landed in turn with its peer, in one run: for JSON sources DuckDB's own
`copy (select … from read_json(…)) to parquet` of the same fields, for PowerMTA the same from `read_csv`, for Postfix
and Exim pflogsumm (Debian's package) over the Postfix log. Prints medians, the ratio, and records a second.
"""

import argparse
import gzip
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import duckdb
import zstandard

from flows.generate import generate
from flows.landing import LANDING_COLUMNS, Load, find_arrivals, land_file
from flows.landing.source import COMMON_COLUMNS
from flows.settings import Settings

LINES = {
    # what is taken of a source's files: one carrier, of which its peer can read every line
    "kumomta": b'{"type"',
    "ses": b'{"eventType"',
    "sendgrid": b'{"email"',
    "mailgun": b'{"event"',
    "postmark": b'{"RecordType"',
}


def read(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            return reader.read()
    return content


def gather(source: str, folder: Path, log: Path) -> int:
    """Put the lines of a source's files that its peer can read into one log; gives their number."""
    count = 0
    header = b""
    with log.open("wb") as out:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            lines = read(path).splitlines(keepends=True)
            if source == "powermta":  # files of one column order
                header = header or lines[0]
                lines = [line for line in lines if line != header] if lines and lines[0] == header else []
                if count == 0 and lines:
                    out.write(header)
            elif start := LINES.get(source):
                lines = [line for line in lines if line.startswith(start) and b"}{" not in line]
            out.writelines(lines)
            count += len(lines)
    return count


def land(source: str, log: Path, scratch: Path, threads: int) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        settings = Settings(home=Path(home), threads=threads)
        folder = settings.inbox / source
        folder.mkdir(parents=True)
        (folder / log.name).hardlink_to(log)
        load = land_file(settings, find_arrivals(settings).files[0])
        assert isinstance(load, Load), load


def copy(source: str, log: Path, out: Path, threads: int) -> None:
    """DuckDB alone: the same fields as text, the same kind of file."""
    if source == "powermta":
        reader = f"read_csv('{log}', all_varchar = true, header = true)"
    else:
        fields = {
            name.lower(): name for name in LANDING_COLUMNS[source] if name not in COMMON_COLUMNS and name != "record"
        }.values()  # read_json does not tell ServerID from ServerId
        columns = ", ".join(f"\"{name}\": 'VARCHAR'" for name in fields)
        reader = f"read_json('{log}', format = 'newline_delimited', columns = {{{columns}}})"
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.execute(f"copy (select * from {reader}) to '{out}' (format parquet, compression zstd)")


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--source", action="append", choices=[*LINES, "powermta", "postfix", "exim"])
    chosen = options.parse_args()
    sources = chosen.source or [*LINES, "powermta", "postfix", "exim"]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        wanted = {*sources, "postfix"} if "exim" in sources else set(sources)
        generate(
            scratch / "logs",
            messages=chosen.messages,
            days=7,
            first_day=date(2026, 3, 2),
            seed=1,
            sources=sorted(wanted),
        )
        records = {
            source: gather(source, scratch / "logs" / source, scratch / f"{source}-20260309.log") for source in wanted
        }
        print(
            f"{'source':10} {'records':>9} {'MB':>6} {'land s':>7} {'peer s':>7} {'ratio':>6} {'records/s':>10}  peer"
        )
        for source in sources:
            log = scratch / f"{source}-20260309.log"
            peer: Callable[[], object]
            if source in ("postfix", "exim"):
                if not shutil.which("pflogsumm"):
                    print(f"{source:10} needs pflogsumm (Debian's package of that name)")
                    continue
                name, peer_log = "pflogsumm", scratch / "postfix-20260309.log"
                command: list[str | Path] = ["pflogsumm", peer_log]
                peer = partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=True)
            else:
                name = "DuckDB's copy"
                peer = partial(copy, source, log, scratch / "bare.parquet", chosen.threads)
            landing, others = [], []
            for _ in range(chosen.runs):
                others.append(timed(peer))
                landing.append(timed(partial(land, source, log, scratch, chosen.threads)))
            mine, theirs = statistics.median(landing), statistics.median(others)
            if source == "exim":  # another log: compare the pace by line
                theirs *= records["exim"] / records["postfix"]
            print(
                f"{source:10} {records[source]:9,} {log.stat().st_size / 1e6:6.0f} {mine:7.2f} {theirs:7.2f} "
                f"{mine / theirs:6.2f} {records[source] / mine:10,.0f}  {name}"
            )


if __name__ == "__main__":
    main()
