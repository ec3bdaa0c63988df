"""How fast replies are masked and judged, beside a plain loop of Python's `re` over the same rules.

    python bench/classify.py [--texts 1000000] [--loop-texts 3000] [--runs 3]

Texts are the known replies of the tests, made distinct by words of random letters; both sides judge the same masked
texts, in turn, and the bench fails where they disagree. Medians. Wall time counts what else runs on the machine;
processor time does not.
"""

import argparse
import csv
import random
import re
import statistics
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import figures

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from flows import rules  # noqa: E402


def make_replies(count: int) -> list[str]:
    """Distinct replies: a known one, and two words that no reply has before it."""
    source = random.Random(4)
    replies = []
    for name in ("known_replies.csv", "reply_examples.csv"):
        with (PROJECT / "tests" / "fixtures" / name).open(encoding="utf-8", newline="") as file:
            replies += [row["reply"] for row in csv.DictReader(file)]
    words = ["".join(source.choices(string.ascii_lowercase, k=6)) for _ in range(5_000)]
    return [f"{source.choice(replies)} {source.choice(words)} {source.choice(words)}" for _ in range(count)]


MASK = "create or replace table masked as select mask_reply(reply) as text from replies"
DISTINCT = "create or replace table texts as select distinct text from masked order by text"
JUDGE = "create or replace table judged as select text, judge_reply(text, null) as answer from texts"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that the work took, by the clock and of processors."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def show(what: str, count: int, runs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of the texts a second, printed in a line."""
    wall, processor = (count / statistics.median(each) for each in zip(*runs, strict=True))
    print(f"{what:<34}{count:>9,} texts{wall:>12,.0f}/s wall{processor:>12,.0f}/s of one processor")
    return {"texts": count, "per_second": wall, "per_processor_second": processor}


def judge_by_loop(texts: list[str]) -> list[str | None]:
    """The text rules in a loop, as one would write it first."""
    rule_set = rules.read_rule_set(PROJECT)
    # RE2 counts only ASCII as letters of \\w and \\b.
    compiled = [(rule.rule_id, re.compile(rule.regex, re.I | re.S | re.A)) for rule in rule_set.asked("text")]
    return [next((rule_id for rule_id, pattern in compiled if pattern.search(text)), None) for text in texts]


def main() -> None:
    """Measures and compares, on two threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--loop-texts", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=3)
    figures.add_option(parser)
    options = parser.parse_args()

    connection = duckdb.connect(config={"threads": 2})
    rules.install(connection, PROJECT)
    connection.execute(
        "create table replies as select distinct unnest($1::varchar[]) as reply", [make_replies(options.texts)]
    )
    masking, judging, looping = [], [], []
    for _ in range(options.runs):
        masking.append(timed(lambda: connection.execute(MASK)))
        connection.execute(DISTINCT)
        judging.append(timed(lambda: connection.execute(JUDGE)))
        sample = connection.execute(
            f"select text, answer.rule_id from judged using sample reservoir({options.loop_texts} rows) repeatable (4)"
        ).fetchall()
        by_loop: list[str | None] = []
        looping.append(timed(lambda: by_loop.extend(judge_by_loop([text for text, _ in sample]))))  # noqa: B023
        different = [
            (text, rule_id, looped)
            for (text, rule_id), looped in zip(sample, by_loop, strict=True)
            if looped is not None and looped != rule_id
        ]
        if different:
            raise SystemExit(f"{len(different)} texts judged differently, the first: {different[0]}")
    found = {"mask_reply": show("mask_reply", connection.table("replies").shape[0], masking)}
    count, length = connection.execute("select count(*), avg(length(text)) from texts").fetchall()[0]
    print(f"{count:,} distinct masked texts of {length:.0f} characters on average")
    found["judge_reply"] = show("judge_reply", count, judging)
    found["a loop of re"] = show("a loop of Python's re", len(sample), looping)
    ratio = found["judge_reply"]["per_second"] / found["a loop of re"]["per_second"]
    print(f"judge_reply is {ratio:,.0f} times as fast")
    figures.keep(options.json, found | {"ratio": ratio})


if __name__ == "__main__":
    main()
