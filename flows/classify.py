"""`bouncehouse classify`: replies in, what the rules say of them out.

Only DuckDB is imported here, so that the command starts in about a second.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import duckdb

from flows.rules import install


def judge(connection: duckdb.DuckDBPyConnection, texts, mx_hosts):
    return connection.execute(
        """
        select c.rule_id, c.reason, c.suppress, c.bounce_class
        from (select classify_bounce(u.t, u.m) as c from (select unnest($t::varchar[]) as t, unnest($m::varchar[]) as m) as u)
        """,
        {"t": texts, "m": mx_hosts},
    ).fetchall()


def main() -> None:
    connection = duckdb.connect()
    install(connection, Path(__file__).parent.parent)
    cases = [json.loads(line) for line in sys.stdin if line.strip()]
    for case, row in zip(cases, judge(connection, [c["text"] for c in cases], [c.get("mx_host") for c in cases])):
        print(json.dumps({"id": case["id"], "rule_id": row[0], "reason": row[1], "suppress": row[2]}))


if __name__ == "__main__":
    main()
