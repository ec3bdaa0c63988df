"""What the commands tell of actions that wait is what a build makes of them, through the real models."""

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from flows.settings import Settings
from flows.suppression.actions import write_action
from flows.suppression.check import check
from flows.suppression.current import open_current
from flows.suppression.imports import import_list
from flows.suppression.recovery import Recovery, apply
from tests.conftest import run_all

STATES = (
    "select address, suppressed_at, cause, acted_by, why, event_id from suppressed order by all",
    "select address, suppressed_at, cause, acted_by, why, event_id from globally_suppressed order by all",
    """select list_name, suppression_event_id, address, occurred_at, action, acted_by, why, event_id, response_text
    from history order by all""",
)

EVENTS = """
    {{"event_type": "{kind}", "event_at": "{at}", "recipient": "{who}", "message_id": "{who}{at}", "smtp_code": 550,
    "response_text": "{reply}", "campaign_id": "spring"}}
"""


def states(settings: Settings) -> list[list[tuple]]:
    with open_current(settings) as current:
        return [current.connection.execute(query).fetchall() for query in STATES]


@pytest.fixture
def built(tmp_path: Path) -> Settings:
    """Bounces of one wave, one after it, one out of band, and a complaint."""
    rows = [
        ("bounced", "2026-03-02T01:00:00Z", "ann@mail.example", "550 5.1.1 wave"),
        ("bounced", "2026-03-02T01:30:00Z", "bob@mail.example", "550 5.1.1 wave"),
        ("bounced", "2026-03-09T01:30:00Z", "bob@mail.example", "550 5.1.1 gone"),
        ("out_of_band_bounce", "2026-03-04T01:30:00Z", "cyd@mail.example", "550 5.1.1 wave"),
        ("bounced", "2026-03-02T01:40:00Z", "Dan@Bücher.example", "550 5.1.1 other"),
        ("complaint", "2026-03-02T05:00:00Z", "wes@wish.example", ""),
    ]
    inbox = tmp_path / "inbox" / "events"
    inbox.mkdir(parents=True)
    lines = [" ".join(EVENTS.format(kind=kind, at=at, who=who, reply=reply).split()) for kind, at, who, reply in rows]
    (inbox / "events.jsonl").write_text("\n".join(lines) + "\n")
    settings = Settings(home=tmp_path / "home", inbox_directory=tmp_path / "inbox", memory_limit="1GB")
    run_all(settings)
    return settings


def test_the_next_build_makes_of_actions_what_was_told(built, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(
        "email,reason,status,created\nnew@mail.example,gone,5.1.1,1443651125\nann@mail.example,gone,5.1.1,1\n"
    )
    import_list(built, path, by="eve", reason="moved")
    write_action(built, "add", "Zoe@BÜCHER.example", by="eve", reason="asked")
    write_action(built, "remove", "dan@bücher.example", by="eve", reason="is back")
    write_action(built, "remove", "wes@wish.example", by="eve", reason="asked again", list_name="global")
    write_action(built, "add", "kim@wish.example", by="eve", reason="asked", list_name="global")
    apply(built, Recovery(datetime(2026, 3, 2), datetime(2026, 3, 3), pattern="WAVE"), by="eve", why="outage")
    told = states(built)
    assert [row[0] for row in told[0]] == [
        "ann@mail.example", "bob@mail.example", "new@mail.example", "zoe@xn--bcher-kva.example"
    ]  # fmt: skip
    assert [row[0] for row in told[1]] == ["kim@wish.example"]
    mailing = tmp_path / "mailing.csv"
    mailing.write_text("email\ncyd@mail.example\nZoe@Bücher.example\nnew@mail.example\nkim@wish.example\n")
    before = check(built, mailing)
    assert (before.allowed, before.pending_count) == (1, 7)

    run_all(built)

    with open_current(built) as current:
        assert current.pending_count == 0
    assert states(built) == told
    with duckdb.connect(str(built.published_database), read_only=True) as connection:
        listed = connection.execute("select address from marts.dim_suppressed_addresses order by 1").fetchall()
    assert [address for (address,) in listed] == [row[0] for row in told[0]]
    after = check(built, mailing)
    assert (after.allowed, after.by_list) == (before.allowed, before.by_list)
