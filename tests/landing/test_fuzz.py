"""Spoilt records of every source: no traceback, no hang, no loss, in landing and in what dbt stages of it."""

import faulthandler
import os
from pathlib import Path
from random import Random

import pytest

from flows.landing import Known, Load, find_arrivals, land_file, land_files
from flows.settings import ACTIONS
from tests.sources.staged import compiled, open_staged

from .conftest import Home, make_home
from .mutants import good_contents, mutate

ROUND_FILES = 40
SECONDS_A_ROUND = 600
"""A round of files takes about one, on a machine that has nothing else to do; none may hang."""


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    compiled("{}")  # not within a round, whose time is limited
    return good_contents(tmp_path_factory.mktemp("good"))


def run_round(folder: Path, source: str, contents: list[bytes], seed: int) -> int:
    """Land and stage a round of spoilt files, and hold what became of every record; gives the number of records."""
    home = make_home(folder)
    random = Random(f"{source} {seed}")
    ending = "jsonl" if source == ACTIONS else "log"
    spoilt = [mutate(random, contents, f"{source}/{number}.{ending}") for number in range(ROUND_FILES)]
    for name, data in spoilt:
        home.put(name, data)
    faulthandler.dump_traceback_later(SECONDS_A_ROUND, exit=True)
    try:
        arrivals = find_arrivals(home.settings).files
        # together as packs, or each by itself
        outcomes = (
            land_files(home.settings, arrivals) if seed % 2 else [land_file(home.settings, each) for each in arrivals]
        )
        loads = [outcome for outcome in outcomes if isinstance(outcome, Load)]
        assert len(outcomes) == ROUND_FILES
        assert all(isinstance(outcome, Load | Known) for outcome in outcomes)
        check_landing(home, source, loads)
        if source in ("postfix", "exim"):
            check_lines(home, source, dict(spoilt), loads)
        if source != ACTIONS:
            check_staging(home, source, loads)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return sum(load.records_read for load in loads)


def check_landing(home: Home, source: str, loads: list[Load]) -> None:
    """Records read are landed or rejected, each with a reason and its text."""
    landed = [digest for (digest,) in home.rows(source, columns="file_digest")]
    rejected = home.rejects(source, columns="file_digest, reason, record")
    for load in loads:
        assert load.records_read == load.records_landed + load.records_rejected, load
        assert landed.count(load.file_digest) == load.records_landed, load
        assert [row[0] for row in rejected].count(load.file_digest) == load.records_rejected, load
    assert all(reason and record is not None for _, reason, record in rejected)


def check_lines(home: Home, source: str, spoilt: dict[str, bytes], loads: list[Load]) -> None:
    """Every line that is not blank has become a record, of logs whose records are lines."""
    columns = "source_file, record_number"
    found = {*home.rows(source, columns=columns), *home.rejects(source, columns=columns)}
    for load in loads:
        numbers = {number for name, number in found if name == load.source_file}
        if load.compression == "none" and 0 not in numbers:  # not of another kind
            lines = spoilt[load.source_file].removeprefix(b"\xef\xbb\xbf").split(b"\n")
            expected = {number for number, line in enumerate(lines, 1) if line.decode("utf-8", "replace").strip()}
            assert numbers == expected, load


def check_staging(home: Home, source: str, loads: list[Load]) -> None:
    """Each landed record is one event or more, or is ignored; events have what the models lean on."""
    landed = [load for load in loads if load.records_landed]
    with open_staged(home.settings.root, source, landed) as connection:
        counts = dict(
            connection.execute(
                "select file_digest, count(*) from staged where recipient_number = 1 group by 1"
            ).fetchall()
        )
        assert counts == {load.file_digest: load.records_landed for load in landed}
        wrong = connection.execute(
            """
            select *
            from staged
            where event_type is not null and not coalesce(
                event_id is not null and message_group_id is not null and recipient <> ''
                and event_at between timestamp '2000-01-01' and landed_at + interval 1 day
                and coalesce(smtp_code, 200) between 200 and 599, false
            )
            """
        ).fetchall()
        assert wrong == []


SOURCES = (
    "kumomta", "powermta", "postfix", "exim", "ses", "sendgrid", "mailgun", "sparkpost", "postmark", "dsn", "events",
    "actions",
)  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_spoilt_records_are_accounted_for(source: str, contents: dict[str, list[bytes]], tmp_path: Path) -> None:
    assert run_round(tmp_path, source, contents[source], seed=0) > 0


@pytest.mark.torture
@pytest.mark.parametrize("source", SOURCES)
def test_many_spoilt_records_are_accounted_for(
    source: str, contents: dict[str, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`BOUNCEHOUSE_FUZZ_ROUNDS` says how many rounds of 40 files a source, `BOUNCEHOUSE_FUZZ_SEED` the first."""
    first = int(os.environ.get("BOUNCEHOUSE_FUZZ_SEED", "1000"))
    rounds = int(os.environ.get("BOUNCEHOUSE_FUZZ_ROUNDS", "50"))
    records = 0
    for seed in range(first, first + rounds):
        try:
            records += run_round(tmp_path_factory.mktemp("round"), source, contents[source], seed)
        except BaseException as error:
            error.add_note(f"source {source}, seed {seed}")
            raise
    print(f"{source}: {rounds * ROUND_FILES} files, {records} records")
