"""Landing of every source against its peer.

    python bench/sources.py [--messages 100000] [--runs 5] [--source NAME] [--compression zstd] [--segment 1.2]

One log of each source, or with `--segment` its segments of so many MB, is generated and landed in turn with its peer,
in one run: for JSON sources DuckDB's own `copy (select … from read_json(…)) to parquet` of the same fields, for
PowerMTA the same from `read_csv`, for Postfix and Exim pflogsumm (Debian's package) over the Postfix log. Prints
medians, their ratio by the clock and by processor time (which a busy machine disturbs less), records a second, and the
peak memory of a landing in a process of its own.
"""

import argparse
import gzip
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import duckdb
import figures
import zstandard

from flows.generate import generate
from flows.landing import LANDING_COLUMNS, Load, find_arrivals, land_files
from flows.landing.source import COMMON_COLUMNS
from flows.settings import Settings

LINES = {
    # what is taken of a source's files: one carrier, of which its peer can read every line
    "kumomta": b'{"type"',
    "ses": b'{"eventType"',
    "sendgrid": b'{"email"',
    "mailgun": b'{"event"',
    "sparkpost": b'{"type"',
    "postmark": b'{"RecordType"',
}
BESIDE = {"sendgrid": ("from_domain", "useragent", "url")}
"""What the generator's records hold beside the landed fields, and landing keeps in `record`."""

SUFFIXES = {"none": "", "zstd": ".zst", "gzip": ".gz"}


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
            if source == "sparkpost":  # of its pages the events
                pages = [json.loads(line) for line in lines if line.startswith(b'{"results"')]
                events = [event for page in pages for event in page["results"]]
                lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events]
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


def cut(source: str, log: Path, segment_bytes: float) -> list[Path]:
    """The log as segments, each with the header where the source has one."""
    with log.open("rb") as whole:
        header = whole.readline() if source == "powermta" else b""
        segments = []
        while lines := whole.readlines(int(segment_bytes)):
            segments.append(log.with_name(f"{log.stem}-{len(segments):04}.log"))
            segments[-1].write_bytes(header + b"".join(lines))
    return segments


def compress(log: Path, compression: str) -> Path:
    """The log as senders store it; DuckDB's readers know it by its suffix."""
    packed = log.with_name(log.name + SUFFIXES[compression])
    if compression == "zstd":
        packed.write_bytes(zstandard.ZstdCompressor().compress(log.read_bytes()))
    elif compression == "gzip":
        packed.write_bytes(gzip.compress(log.read_bytes(), compresslevel=6))
    return packed


def land(source: str, logs: list[Path], scratch: Path, threads: int) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        settings = Settings(home=Path(home), threads=threads)
        folder = settings.inbox / source
        folder.mkdir(parents=True)
        for log in logs:
            (folder / log.name).hardlink_to(log)
        outcomes = land_files(settings, find_arrivals(settings).files)
        assert all(isinstance(outcome, Load) for outcome in outcomes), outcomes


def copy(source: str, logs: list[Path], out: Path, threads: int) -> None:
    """DuckDB alone: the same fields as text, the same kind of file, in any order where there are many."""
    names = [str(log) for log in logs]
    if source == "powermta":
        reader = f"read_csv({names}, all_varchar = true, header = true)"
    else:
        landed = [name for name in LANDING_COLUMNS[source] if name not in COMMON_COLUMNS and name != "record"]
        landed += BESIDE.get(source, ())
        fields = {name.lower(): name for name in landed}.values()  # read_json does not tell ServerID from ServerId
        columns = ", ".join(f"\"{name}\": 'VARCHAR'" for name in fields)
        reader = f"read_json({names}, format = 'newline_delimited', columns = {{{columns}}})"
    with duckdb.connect(config={"threads": threads, "preserve_insertion_order": len(logs) == 1}) as connection:
        connection.execute(f"copy (select * from {reader}) to '{out}' (format parquet, compression zstd)")


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processors, that a call and its processes took."""
    spent, begun = processor_seconds(), time.perf_counter()
    call()
    return time.perf_counter() - begun, processor_seconds() - spent


def processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_memory(source: str, logs: list[Path], threads: int) -> float:
    """MiB that one landing takes, with all it imports."""
    command = [sys.executable, __file__, "--source", source, "--threads", str(threads), "--only-land", *map(str, logs)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(clock for clock, _ in runs), statistics.median(spent for _, spent in runs)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--messages", type=int, default=100_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--source", action="append", choices=[*LINES, "powermta", "postfix", "exim"])
    options.add_argument("--compression", choices=tuple(SUFFIXES), default="none")
    options.add_argument("--segment", type=float, help="MB of a segment; one file unless given")
    figures.add_option(options)
    options.add_argument("--only-land", type=Path, nargs="*", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.only_land:
        land(chosen.source[0], chosen.only_land, chosen.only_land[0].parent, chosen.threads)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    sources = chosen.source or [*LINES, "powermta", "postfix", "exim"]
    found = []
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
            f"{'source':10} {'records':>9} {'MB':>6} {'land s':>7} {'peer s':>7} {'ratio':>6} {'by CPU':>6} "
            f"{'records/s':>10} {'peak MiB':>8}  peer"
        )
        for source in sources:
            plain = scratch / f"{source}-20260309.log"
            whole = cut(source, plain, chosen.segment * 1e6) if chosen.segment else [plain]
            logs = [compress(log, chosen.compression) for log in whole]
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
                peer = partial(copy, source, logs, scratch / "bare.parquet", chosen.threads)
            landing, others = [], []
            for _ in range(chosen.runs):
                others.append(timed(peer))
                landing.append(timed(partial(land, source, logs, scratch, chosen.threads)))
            (mine, my_cpu), (theirs, their_cpu) = medians(landing), medians(others)
            if source == "exim":  # another log: compare the pace by line
                share = records["exim"] / records["postfix"]
                theirs, their_cpu = theirs * share, their_cpu * share
            size = sum(log.stat().st_size for log in logs)
            peak = peak_memory(source, logs, chosen.threads)
            print(
                f"{source:10} {records[source]:9,} {size / 1e6:6.0f} {mine:7.2f} {theirs:7.2f} "
                f"{mine / theirs:6.2f} {my_cpu / their_cpu:6.2f} {records[source] / mine:10,.0f} "
                f"{peak:8.0f}  {name}",
                flush=True,
            )
            found.append(
                {
                    "source": source,
                    "files": len(logs),
                    "records": records[source],
                    "bytes": size,
                    "seconds": mine,
                    "peer": name,
                    "peer_seconds": theirs,
                    "ratio": mine / theirs,
                    "ratio_by_processor_time": my_cpu / their_cpu,
                    "peak_mib": peak,
                }
            )
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
