"""Everything that is measured, one after the other: python bench/all.py [--size small] [--json target/bench.json]

Size tiny shows that all of it works; small is for a look whether anything got much slower, some ten minutes; full is
of the sizes of docs/performance.md, some hours, but for its hundred million events. Each script prints its table as it
is done; the figures of all of them (medians of several runs, ratios to peers in the same run, peak memory) go into one
file. What a machine lacks (Debian's pflogsumm and Chromium, the peers of bench/peers.txt) is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures

FOLDER = Path(__file__).parent
SIZES = ("tiny", "small", "full")
MEASURES: dict[str, tuple[str, str, str, str]] = {
    "sources": ("sources.py", "--messages 500 --runs 2", "--messages 30000 --runs 3", "--messages 300000 --runs 5"),
    "sources in segments": (
        "sources.py",
        "--messages 500 --runs 2 --segment 0.1 --source kumomta",
        "--messages 15000 --runs 3 --segment 1.5 --source kumomta --source ses",
        "--messages 60000 --runs 5 --segment 1.5",
    ),
    "dsn, mbox": ("dsn.py", "--mails 100 --runs 2", "--mails 10000 --runs 3", "--mails 50000 --runs 5"),
    "dsn, maildir": (
        "dsn.py",
        "--form maildir --mails 100 --runs 2",
        "--form maildir --mails 10000 --runs 3",
        "--form maildir --mails 50000 --runs 5",
    ),
    "small files": ("small_files.py", "--files 100 --runs 2", "--files 5000 --runs 3", "--files 20000 --runs 3"),
    "classify": ("classify.py", "--texts 1000 --loop-texts 100 --runs 2", "--texts 200000", "--texts 1000000"),
    "check": (
        "check.py",
        "--records 1000 --suppressed 500 --runs 2",
        "--records 1000000 --suppressed 500000",
        "--records 10000000 --suppressed 5000000",
    ),
    "fixed costs": ("fixed_costs.py", "--runs 1", "--runs 2", "--runs 5"),
    "whole": (
        "whole.py",
        "--events 2000 --history 1 --daily 2000 --runs 1",
        "--events 100000 --history 2 --daily 10000 --runs 2",
        "--full",
    ),
    "least": ("least.py", "--events 2000 --runs 1", "--events 100000 --runs 3", "--events 10000000 --runs 3"),
    "days": (
        "days.py",
        "--messages 100 --history 1 2 --runs 1",
        "--messages 1000 --history 2 14 --runs 2",
        "--messages 16000 --history 7 90 --runs 3",
    ),
    "page": ("page.py", "--rows 500 --runs 1", "--rows 50000 --runs 3", "--rows 200000 --runs 5"),
    "workbook": ("workbook.py", "--rows 100 --runs 2", "--rows 20000 --runs 3", "--rows 100000 --runs 3"),
    "list as CSV": ("list_csv.py", "--rows 1000 --runs 2", "--rows 100000 --runs 3", "--rows 475000 --runs 3"),
}
"""Scripts with their arguments, of each size."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", action="append", choices=MEASURES, help="one of them; again for another")
    figures.add_option(parser)
    chosen = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="bouncehouse-bench-") as folder:
        for name in chosen.only or MEASURES:
            script, *sizes = MEASURES[name]
            arguments = sizes[SIZES.index(chosen.size)].split()
            print(f"\n# {script} {' '.join(arguments)}", flush=True)
            kept = Path(folder) / f"{name}.json"
            subprocess.run([sys.executable, FOLDER / script, *arguments, "--json", kept], check=True)
            found[name] = {"script": script, "arguments": arguments, "found": json.loads(kept.read_text())["found"]}
            # after each: whoever stops a long run has what was measured
            figures.keep(chosen.json, {"size": chosen.size, "measures": found})
    if chosen.json:
        print(f"\nfigures of {len(found)} measures on {os.cpu_count()} processors: {chosen.json}")


if __name__ == "__main__":
    main()
