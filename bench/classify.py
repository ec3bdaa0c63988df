"""How fast replies are masked and judged, beside a plain loop of Python's `re` over the same rules.

    python bench/classify.py [--texts 1000000] [--loop-texts 3000]

Texts are the known replies of the tests, made distinct by words of random letters; both sides judge the same masked
texts, and the bench fails where they disagree. Wall time counts what else runs on the machine; processor time does not.
"""

import argparse
import csv
import random
import re
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

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


def timed(what: str, count: int, work: Callable[[], object]) -> float:
    """Seconds that the work took, after a line about it."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what:<34}{count:>9,} texts{count / wall:>12,.0f}/s wall{count / processor:>12,.0f}/s of one processor")
    return wall


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
    options = parser.parse_args()

    connection = duckdb.connect(config={"threads": 2})
    rules.install(connection, PROJECT)
    connection.execute(
        "create table replies as select distinct unnest($1::varchar[]) as reply", [make_replies(options.texts)]
    )
    count = connection.table("replies").shape[0]
    timed(
        "mask_reply",
        count,
        lambda: connection.execute("create table masked as select mask_reply(reply) as text from replies"),
    )
    connection.execute("create table texts as select distinct text from masked order by text")
    count, length = connection.execute("select count(*), avg(length(text)) from texts").fetchall()[0]
    print(f"{count:,} distinct masked texts of {length:.0f} characters on average")
    by_macro = timed(
        "judge_reply",
        count,
        lambda: connection.execute("create table judged as select text, judge_reply(text, null) as answer from texts"),
    )
    sample = connection.execute(
        f"select text, answer.rule_id from judged using sample reservoir({options.loop_texts} rows) repeatable (4)"
    ).fetchall()
    by_loop: list[str | None] = []
    loop = timed(
        "a loop of Python's re", len(sample), lambda: by_loop.extend(judge_by_loop([text for text, _ in sample]))
    )
    print(f"judge_reply is {loop / len(sample) / (by_macro / count):,.0f} times as fast")
    different = [
        (text, rule_id, looped)
        for (text, rule_id), looped in zip(sample, by_loop, strict=True)
        if looped is not None and looped != rule_id
    ]
    if different:
        raise SystemExit(f"{len(different)} texts judged differently, the first: {different[0]}")


if __name__ == "__main__":
    main()
