"""Webhook bodies stored one a file, files a second: python bench/small_files.py [--files 20000] [--runs 3]

One event a file, as SendGrid posts them (an array) and as SES's events lie in S3 (an object). Times the looking into
the inbox and the landing, and then the look of the next run, which finds nothing new.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import figures

from flows.landing import Load, find_arrivals, land_files, remember
from flows.settings import Settings

LONG_AGO = 1772445600


def sendgrid(number: int) -> str:
    event = {
        "email": f"user{number}@example.org",
        "timestamp": LONG_AGO + number,
        "smtp-id": f"<m{number}@news.example.com>",
        "event": "bounce",
        "category": ["spring"],
        "sg_event_id": f"e{number}",
        "sg_message_id": f"m{number}.filter0001",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist.",
        "status": "5.1.1",
        "ip": "203.0.113.7",
        "tls": 1,
        "type": "bounce",
    }
    return json.dumps([event])


def ses(number: int) -> str:
    address = f"user{number}@example.org"
    event = {
        "eventType": "Bounce",
        "bounce": {
            "feedbackId": f"f{number}",
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": address,
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
                }
            ],
            "timestamp": "2026-03-02T10:00:01.000Z",
        },
        "mail": {
            "timestamp": "2026-03-02T10:00:00.000Z",
            "source": "news@example.com",
            "messageId": f"0100-{number}",
            "destination": [address],
            "tags": {"ses:configuration-set": ["main"], "campaign": ["spring"]},
        },
    }
    return json.dumps(event)


BODIES: dict[str, Callable[[int], str]] = {"sendgrid": sendgrid, "ses": ses}


def write_files(folder: Path, body: Callable[[int], str], count: int) -> None:
    """A file for each event, in folders of a thousand; old enough to be remembered as landed."""
    for number in range(count):
        path = folder / f"{number // 1000}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body(number), encoding="utf-8")
        os.utime(path, (LONG_AGO, LONG_AGO))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=20_000)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    figures.add_option(options)
    chosen = options.parse_args()
    found = []
    for source, body in BODIES.items():
        with tempfile.TemporaryDirectory() as scratch:
            inbox = Path(scratch) / "inbox"
            write_files(inbox / source, body, chosen.files)
            rates, looks = [], []
            for run in range(chosen.runs):
                settings = Settings(home=Path(scratch) / f"home{run}", inbox_directory=inbox, threads=chosen.threads)
                begun = time.perf_counter()
                files = find_arrivals(settings).files
                outcomes = land_files(settings, files)
                rates.append(chosen.files / (time.perf_counter() - begun))
                assert sum(load.records_landed for load in outcomes if isinstance(load, Load)) == chosen.files
                remember(settings, zip(files, outcomes, strict=True))
                begun = time.perf_counter()
                assert not find_arrivals(settings).files
                looks.append(time.perf_counter() - begun)
            print(
                f"{source:10} {chosen.files} files: median {statistics.median(rates):.0f} a second "
                f"{[round(rate) for rate in rates]}, next look {statistics.median(looks):.1f} s"
            )
            found.append({"source": source, "files": chosen.files, "files_per_second": rates, "look_seconds": looks})
    figures.keep(chosen.json, found)


if __name__ == "__main__":
    main()
