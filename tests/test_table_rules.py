"""The data test `rules` (tests/dbt/generic/rules.sql): each rule is broken in turn, and told with the rows that break it."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from jinja2 import Environment

from flows.dbt_macros import read_macros

SOURCE = Path(__file__).parent / "dbt" / "generic" / "rules.sql"
RULES = {
    "filled": ["id", "kind"],
    "keys": [["id"], ["kind", "part"]],
    "accepted": {"kind": ["soft", "hard"], "origin": ["remote"]},
    "references": {"reason": "reasons"},
}
GOOD = [(1, "soft", 1, "remote", "full"), (2, "soft", 2, None, None), (3, "hard", None, "remote", "full")]
"""Rows of id, kind, part, origin, reason: whatever is not `filled` may be null."""


class Relation(str):
    """A table as dbt hands it to a test."""

    @property
    def identifier(self) -> str:
        return str(self)


def find_broken(
    rows: list[tuple[Any, ...]], rules: dict[str, Any], *, is_tested_whole: bool = False
) -> list[tuple[Any, ...]]:
    """Run the test, as dbt renders it, on a table of the rows: rule, count and examples of what is broken.

    What has the id 2 is the batch's, and of the day that a build replaces.
    """
    text = (
        SOURCE.read_text(encoding="utf-8").replace("{% test ", "{% macro ").replace("{% endtest %}", "{% endmacro %}")
    )
    environment = Environment(extensions=["jinja2.ext.do"])
    given = {
        "row_as_text": read_macros().row_as_text,
        "is_tested_whole": lambda: is_tested_whole,
        "in_batch": lambda: "id = 2",
        "ref": str,
    }
    rendered: Any = environment.from_string(text, globals=given).module
    references = {column: Relation(table) for column, table in rules.get("references", {}).items()}
    with duckdb.connect() as connection:
        connection.execute("create table reasons as select 'full' as reason")
        connection.execute("create table given (id int, kind varchar, part int, origin varchar, reason varchar)")
        connection.executemany("insert into given values (?, ?, ?, ?, ?)", rows)
        connection.execute(
            """create view judged as
            select *, date '2026-02-28' + id as event_date, date '2026-02-28' + id as undelivered_date from given"""
        )
        connection.execute("create table int_event_dates__touched as select date '2026-03-02' as event_date")
        connection.execute("create table int_undelivery_dates__touched as select date '2026-03-02' as undelivered_date")
        return connection.execute(rendered.rules("judged", **{**rules, "references": references})).fetchall()


def test_table_that_keeps_its_rules_passes() -> None:
    assert find_broken(GOOD, RULES) == []


@pytest.mark.parametrize("among", ["batch", "days", "undelivered"])
def test_only_what_a_build_can_have_changed_is_looked_at_unless_all_is_asked_for(among: str) -> None:
    broken = [(1, None, 1, "remote", "full"), (2, None, 2, None, None)]
    assert [count for _, count, _ in find_broken(broken, {"filled": ["kind"], "among": among})] == [1]
    assert [count for _, count, _ in find_broken(broken, {"filled": ["kind"]})] == [2]
    whole = find_broken(broken, {"filled": ["kind"], "among": among}, is_tested_whole=True)
    assert [count for _, count, _ in whole] == [2]


@pytest.mark.parametrize(
    ("row", "broken", "example"),
    [
        ((None, "hard", 4, "remote", "full"), "id is null", "'id': NULL"),
        ((4, None, 4, "remote", "full"), "kind is null", "'id': 4"),
        ((4, "odd", 4, "remote", "full"), "kind is none of soft, hard", "'kind': odd"),
        ((4, "hard", 4, "local", "full"), "origin is none of remote", "'origin': local"),
        ((3, "hard", 4, "remote", "full"), "id: not unique", "{'id': 3}"),
        ((4, "soft", 2, "remote", "full"), "kind, part: not unique", "{'kind': soft, 'part': 2}"),
        ((4, "hard", None, "remote", "full"), "kind, part: not unique", "{'kind': hard, 'part': NULL}"),
        ((4, "hard", 4, "remote", "gone"), "reason is not in reasons", "{'reason': gone}"),
    ],
)
def test_broken_rule_is_named_with_its_rows(row: tuple[Any, ...], broken: str, example: str) -> None:
    [(rule, count, examples)] = find_broken([*GOOD, row], RULES)
    assert (rule, count, len(examples)) == (broken, 1, 1)
    assert example in examples[0]


def test_every_broken_rule_has_its_line_and_at_most_three_examples() -> None:
    rows = [*GOOD, *[(None, "odd", number, "remote", "gone") for number in range(10, 20)]]
    found = {rule: (count, len(examples)) for rule, count, examples in find_broken(rows, RULES)}
    assert found == {
        "id is null": (10, 3),
        "kind is none of soft, hard": (10, 3),
        "id: not unique": (1, 1),
        "reason is not in reasons": (10, 3),
    }


@pytest.mark.parametrize("kind", list(RULES))
def test_rules_of_one_kind_alone_are_a_test(kind: str) -> None:
    bad = (1, "soft", 1, "local", "gone")
    assert find_broken(GOOD, {kind: RULES[kind]}) == []
    expected = {
        "filled": [],
        "keys": ["id: not unique", "kind, part: not unique"],
        "accepted": ["origin is none of remote"],
    }
    told = [rule for rule, _, _ in find_broken([*GOOD, bad], {kind: RULES[kind]})]
    assert told == expected.get(kind, ["reason is not in reasons"])
