"""The lists' ledger replayed by the engine, against a replay in plain Python that shares nothing with it."""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import addresses
from flows.dbt_macros import read_macros

BEGIN = datetime(2026, 3, 1)
FACTS = st.tuples(
    st.sampled_from(["ada@a.example", "bob@b.example"]),
    st.integers(0, 12),  # hours after BEGIN: few, so that instants coincide
    st.sampled_from(["hard_bounce", "administrator", "import", "removal"]),
    st.one_of(st.none(), st.integers(0, 12)),  # hours after which a bounce stops counting
)
Fact = tuple[str, int, str, int | None]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def replay_in_engine(connection: duckdb.DuckDBPyConnection, facts: list[Fact]) -> list[tuple[str, datetime, str]]:
    rows = []
    for number, (address, hour, cause, lasts) in enumerate(facts, 1):
        is_removal = cause == "removal"
        ends_at = BEGIN + timedelta(hours=hour + lasts) if cause == "hard_bounce" and lasts is not None else None
        rows.append(
            (
                UUID(int=number),
                address,
                BEGIN + timedelta(hours=hour),
                "administrator" if is_removal else cause,
                is_removal,
                UUID(int=number) if cause == "hard_bounce" else None,
                ends_at,
                UUID(int=1000 + number),
            )
        )
    connection.execute(
        """create or replace temp table facts (
            cause_id uuid, address varchar, occurred_at timestamp, cause varchar, is_removal boolean, event_id uuid,
            ends_at timestamp, end_id uuid)"""
    )
    if rows:
        connection.executemany("insert into facts values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute(
        """create or replace temp view causes as
        select
            *, 'suppression' as list_name, null::varchar as recipient_domain, 'somebody' as acted_by, 'why' as why,
            'reverted' as end_action, 'somebody' as ended_by, 'why' as end_why, null::varchar as source_name,
            null::varchar as campaign_id, null::uuid as text_id, null::varchar as reason, null::varchar as rule_id
        from facts"""
    )
    return connection.execute(
        f"select address, occurred_at, action from ({read_macros().replayed_ledger('causes')})"
        " order by address, occurred_at, action in ('added', 'imported')"
    ).fetchall()


def replay_by_hour(facts: list[Fact]) -> dict[str, list[bool]]:
    """Whether each address is on the list at each hour: put there by any fact that nothing ended."""
    states = {}
    for address in ("ada@a.example", "bob@b.example"):
        mine = [fact for fact in facts if fact[0] == address]
        removals = [hour for _, hour, cause, _ in mine if cause == "removal"]
        states[address] = [
            any(
                begun <= hour
                and not any(begun <= removed <= hour for removed in removals)
                and not (cause == "hard_bounce" and lasts is not None and begun + lasts <= hour)
                for _, begun, cause, lasts in mine
                if cause != "removal"
            )
            for hour in range(26)
        ]
    return states


@settings(max_examples=60, deadline=None)
@given(st.lists(FACTS, max_size=9))
def test_ledger_says_what_a_replay_by_the_hour_says(connection: duckdb.DuckDBPyConnection, facts: list[Fact]) -> None:
    ledger = replay_in_engine(connection, facts)
    for address, states in replay_by_hour(facts).items():
        mine = [(at, action in ("added", "imported")) for who, at, action in ledger if who == address]
        # on and off by turns, beginning with on; an end and a new begin may share an instant
        assert [is_on for _, is_on in mine] == [number % 2 == 0 for number in range(len(mine))]
        for hour, is_on in enumerate(states):
            before = [state for at, state in mine if at <= BEGIN + timedelta(hours=hour)]
            assert (before[-1] if before else False) == is_on


def test_order_of_arrival_does_not_matter(connection: duckdb.DuckDBPyConnection) -> None:
    facts: list[Fact] = [
        ("bob@b.example", 1, "hard_bounce", None),
        ("bob@b.example", 2, "removal", None),
        ("bob@b.example", 2, "hard_bounce", 4),
        ("bob@b.example", 3, "import", None),
        ("bob@b.example", 5, "removal", None),
    ]
    first = replay_in_engine(connection, facts)
    assert len(first) == 4
    for order in itertools.permutations(facts):
        assert replay_in_engine(connection, list(order)) == first


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" Bob@Example.ORG ", "bob@example.org"),
        ('"Bob, B." <Bob+tag@example.org>', "bob+tag@example.org"),
        ("bob.b@Bücher.example", "bob.b@xn--bcher-kva.example"),
        ("bob@XN--BCHER-KVA.example", "bob@xn--bcher-kva.example"),
        ("Jörg <JÖRG@straße。example>", "jörg@xn--strae-oqa.example"),
        ("b@a..ü", "b@a..ü"),
        ("ünobody", "ünobody"),
        ("  ", None),
        (None, None),
    ],
)
def test_normal_form_of_addresses(written: str | None, normal: str | None) -> None:
    with duckdb.connect() as connection:
        addresses.register(connection)
        query = f"select {read_macros().normal_address('address')} from (select ?::varchar as address)"
        assert connection.execute(query, [written]).fetchone() == (normal,)
