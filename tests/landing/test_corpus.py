"""Each malformed input ends in the account that stands beside it: events, ignored records, rejects with a reason."""

from dataclasses import dataclass

import pytest

from flows.landing import Load, Unreadable, find_arrivals, land_files
from flows.settings import ACTIONS
from tests.sources.staged import open_staged

from .conftest import make_home
from .corpus import CASES, Case


@dataclass(frozen=True)
class Account:
    load: Load
    events: int
    ignored: int
    reasons: list[str]


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Account]:
    """What became of every case, all of them landed by one run."""
    home = make_home(tmp_path_factory.mktemp("corpus"))
    names = {}
    for number, case in enumerate(CASES):
        ending = "jsonl" if case.source == ACTIONS else "log"
        names[f"{case.source}/{number}.{ending}"] = str(case)
        path = home.put(f"{case.source}/{number}.{ending}", case.make())
        path.touch()
    arrivals = find_arrivals(home.settings).files
    outcomes = [outcome for source in {each.source_name for each in arrivals}
                for outcome in land_files(home.settings, [each for each in arrivals if each.source_name == source])]  # fmt: skip
    assert not [outcome for outcome in outcomes if isinstance(outcome, Unreadable)]
    loads = [outcome for outcome in outcomes if isinstance(outcome, Load)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, Load)] == [], "two cases have the same content"
    staged: dict[str, tuple[int, int]] = {}
    for source in {load.source_name for load in loads} - {ACTIONS}:
        with open_staged(
            home.settings.root, source, [load for load in loads if load.source_name == source]
        ) as connection:
            query = """
                select file_digest, count(*) filter (event_type is not null), count(*) filter (event_type is null)
                from staged where recipient_number = 1 group by 1"""
            staged |= {digest: (events, ignored) for digest, events, ignored in connection.execute(query).fetchall()}
    found = {}
    for load in loads:
        events, ignored = staged.get(load.file_digest, (0, 0))
        if load.source_name == ACTIONS:
            events = load.records_landed
        name = "*" if load.records_rejected else "nothing"
        rows = home.rejects(load.source_name, columns="file_digest, reason") if name == "*" else []
        reasons = [reason for digest, reason in rows if digest == load.file_digest]
        found[names[load.source_file]] = Account(load, events, ignored, reasons)
    return found


def test_the_corpus_is_large_and_covers_every_source() -> None:
    assert len(CASES) >= 80
    assert len({str(case) for case in CASES}) == len(CASES)
    assert len({case.source for case in CASES}) == 12


@pytest.mark.xdist_group("corpus")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_malformed_input_is_accounted_for(case: Case, accounts: dict[str, Account]) -> None:
    found = accounts[str(case)]
    assert (found.events, found.ignored, len(found.reasons)) == (case.events, case.ignored, len(case.rejects)), found
    for reason, expected in zip(found.reasons, case.rejects, strict=True):
        assert reason.startswith(expected)
    assert found.load.records_read == case.records
    assert found.load.records_landed == case.events + case.ignored
    assert (case.message or "") in (found.load.message or "")
    assert found.load.is_complete == (case.message is None or "columns" in case.message)
