"""What is put into SQL as text goes through flows/sql.py: no other place quotes, and none puts a value between quotes."""

import ast
import re
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.sql import listed, one_of, quote, text

FLOWS = Path(__file__).parent.parent / "flows"
MODULES = sorted(path.relative_to(FLOWS).as_posix() for path in FLOWS.rglob("*.py"))
IS_SQL = re.compile(
    r"\b(?:select|from|where|when|then|attach|copy|create|insert|set|date|timestamp|timestamptz|in) ", re.I
)

GENERATED = "generate/"
"""The generator's SQL is made of its own constants alone: it reads no log."""


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_what_is_quoted_is_only_ever_a_value_or_a_name(values: list[str]) -> None:
    values = [value.replace("\0", "") for value in values]
    with duckdb.connect() as connection:
        assert connection.execute(f"select [{listed(values)}]").fetchone() == (values,)
        assert connection.execute(f"select {text(values[0])} in {one_of(values)}").fetchone() == (True,)
        cursor = connection.execute(f"select 1 as {quote(values[0] or 'x')}")
        assert cursor.description[0][0] == (values[0] or "x")


def quoted_values(source: str) -> list[str]:
    """The places of f-strings of SQL in which a value stands between single quotes, or quotes are doubled by hand."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            words = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            if IS_SQL.search(words) and re.search(r"'\0'", words):
                found.append(f"line {node.lineno}: {ast.unparse(node)[:120]}")
        if isinstance(node, ast.Constant) and node.value == "''":
            found.append(f"line {node.lineno}: quotes doubled by hand")
    return found


@pytest.mark.parametrize("module", [name for name in MODULES if name != "sql.py" and not name.startswith(GENERATED)])
def test_no_value_is_quoted_by_hand(module: str) -> None:
    assert quoted_values((FLOWS / module).read_text()) == []


def test_a_value_quoted_by_hand_is_found() -> None:
    assert quoted_values("f\"select * from t where a = '{x}'\"")
    assert quoted_values('x.replace("\'", "\'\'")')
    assert not quoted_values('f"select * from t where a = {text(x)}"')
