"""Drawn histories through whole runs: the marts are what the oracle tells, whatever way the logs came."""

import os
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from flows.dbt_project import find_project_directory
from flows.settings import Settings
from tests import marts
from tests.conftest import run_all
from tests.oracle import compare, model
from tests.oracle.deal import deal, put
from tests.oracle.histories import History, draw_histories, move
from tests.oracle.known import known_histories, write_late
from tests.oracle.writers import SENDING_IPS, Record, write

pytestmark = pytest.mark.xdist_group("oracle")

SEED = 20260307
TORTURE_SEED = int(os.environ.get("TORTURE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
TORTURE_HISTORIES = int(os.environ.get("TORTURE_HISTORIES", "2000"))
HISTORIES_A_HOME = 400
SCATTERED = 30
SEED_APART = 31
"""Among its histories are messages whose recipients have their turns on different days, one of them in flight when the run is over."""
DAYS_APART = timedelta(days=20)
"""Longer than a history lasts, and than its messages are tried."""
RULES = model.read_resend_rules(find_project_directory() / "seeds" / "resend_rules.csv")


@dataclass
class Deliveries:
    """What each run finds new, and the home that they come to."""

    home: Path
    runs: list[Path]

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home)

    def come(self) -> Path:
        """One run after the other; gives the database that the last of them published."""
        self.home.mkdir(parents=True)
        (self.home / "sources.yml").write_text(
            f"postfix: {{sending_ips: {{{', '.join(f'{k}: {v}' for k, v in SENDING_IPS.items())}}}}}\n"
        )
        (self.home / "inbox").mkdir()
        for run in self.runs:
            shutil.copytree(run, self.home, dirs_exist_ok=True)
            assert run_all(self.settings).result.is_built
        return self.settings.published_database


def deliver(folder: Path, histories: Sequence[History], *, number: int, runs: int) -> Deliveries:
    """Deal out the records of all histories; of the known ones what is late comes last."""
    folders = [folder / f"run{run}" for run in range(runs)]
    generator = random.Random(number)
    deal((record for history in histories for record in write(history)), folders, generator)
    return Deliveries(folder / "home", [run for run in folders if run.exists()])


def scatter(folder: Path, histories: Sequence[History], *, number: int) -> tuple[list[History], Deliveries]:
    """Of each run one history, far apart in time from the others; little of it comes late, with another run. So of most days a
    run says nothing, and time goes on without a word of the messages that are in flight.
    """
    generator = random.Random(number)
    folders = [folder / f"run{run}" for run in range(len(histories))]
    moved: list[History] = [move(history, (run - len(histories)) * DAYS_APART) for run, history in enumerate(histories)]
    for run, history in enumerate(moved):
        chosen = [folders[run]] * 5 + [generator.choice(folders[run:])]
        deal(write(history), chosen, generator, name=f"h{history.number}-")
    return moved, Deliveries(folder / "home", [run for run in folders if run.exists()])


def tell(histories: Sequence[History]) -> model.Tale:
    return model.tell(
        (entry for history in histories for record in write(history) for entry in record.entries),
        [action for history in histories for action in history.actions],
        [opt_out for history in histories for opt_out in history.opt_outs],
        RULES,
    )


def explain(different: dict[str, list[str]], histories: Sequence[History], number: int) -> str:
    """The first differences, and whose they are."""
    if not different:
        return ""
    names = sorted(
        {int(name) for rows in different.values() for row in rows for name in re.findall(r"\bh(\d{4})", row)}
    )
    shown = [
        f"{mart}:\n    " + "\n    ".join(sorted(rows, key=lambda row: row[7:])[:6]) for mart, rows in different.items()
    ]
    drawn = [repr(history) for history in histories if history.number in names[:2]]
    return "\n".join([f"seed {number}, histories {names}", *shown, *drawn])


def test_marts_are_what_the_oracle_tells(tmp_path: Path) -> None:
    """Drawn and known histories in one home, over three daily runs."""
    histories = draw_histories(150, SEED)
    known = known_histories(9000)
    deliveries = deliver(tmp_path, histories, number=SEED, runs=3)
    last: list[Record] = []
    first: list[Record] = []
    for history in known:
        for record, is_late in write_late(history):
            (last if is_late else first).append(record)
    put(first, deliveries.runs[0], "known")
    put(last, deliveries.runs[-1], "known-late")
    tale = tell([*histories, *known])
    assert min(len(rows) for rows in tale.rows.values()) > 0
    assert len(tale.rows["fct_delivery_events"]) > 1000
    found = compare.read_marts(deliveries.come())
    assert explain(compare.differences(tale.rows, found), [*histories, *known], SEED) == ""


@pytest.mark.long
def test_histories_that_lie_far_apart(tmp_path: Path) -> None:
    """A run replaces few days, and time ends messages of others."""
    histories, deliveries = scatter(tmp_path, draw_histories(16, SEED_APART), number=SEED_APART)
    found = compare.read_marts(deliveries.come())
    assert explain(compare.differences(tell(histories).rows, found), histories, SEED_APART) == ""


def test_oracle_is_asked_about_every_row(tmp_path: Path) -> None:
    """A mart that says one thing else, in any column, is found out."""
    tale = tell(draw_histories(20, SEED))
    for mart, rows in tale.rows.items():
        found = {name: other.copy() for name, other in tale.rows.items()}
        row = next(iter(rows))
        for place in range(len(row)):
            found[mart] = rows - type(rows)([row]) + type(rows)([(*row[:place], "other", *row[place + 1 :])])
            assert [*compare.differences(tale.rows, found)] == [mart]
        found[mart] = rows + type(rows)([row])
        assert [*compare.differences(tale.rows, found)] == [mart]


@pytest.mark.torture
@pytest.mark.parametrize("pack", range(max(1, TORTURE_HISTORIES // HISTORIES_A_HOME)))
def test_many_histories(tmp_path: Path, pack: int) -> None:
    """Two to five runs, one run over everything and a rebuild give the same marts, and the oracle's."""
    number = (TORTURE_SEED + pack) % (1 << 32)
    histories = draw_histories(HISTORIES_A_HOME, number)
    tale = tell(histories)
    messages, rows = (len(tale.rows[mart]) for mart in ("fct_messages", "fct_delivery_events"))
    print(f"\nTORTURE_SEED={number}: {len(histories)} histories, {messages} messages, {rows} events", flush=True)
    daily = deliver(tmp_path / "daily", histories, number=number, runs=2 + number % 4)
    database = daily.come()
    assert explain(compare.differences(tale.rows, compare.read_marts(database)), histories, number) == ""
    at_once = deliver(tmp_path / "at-once", histories, number=number + 1, runs=1).come()
    assert marts.differences(at_once, database) == {}
    rebuilt = run_all(daily.settings, full_refresh=True)
    assert marts.differences(at_once, rebuilt.database) == {}
    apart, scattered = scatter(tmp_path / "apart", histories[:SCATTERED], number=number)
    database = scattered.come()
    assert explain(compare.differences(tell(apart).rows, compare.read_marts(database)), apart, number) == ""
    rebuilt = run_all(scattered.settings, full_refresh=True)
    assert marts.differences(database, rebuilt.database) == {}
