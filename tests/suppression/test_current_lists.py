"""What an administrator decided counts at once, and as the next run will have it."""

import json
import random
from datetime import datetime, timedelta

import pytest

from flows.dbt_macros import read_macros
from flows.problems import ActionableError
from flows.settings import Settings
from flows.suppression.actions import start_record, write_action
from flows.suppression.current import open_current
from flows.suppression.questions import Filters, find_history, list_suppressed
from flows.suppression.recovery import Recovery, apply
from tests.suppression.published_lists import Fact, decided, publish

MARCH = datetime(2026, 3, 3, 4, 5, 6)


def addresses(here: Settings, **filters) -> list[str]:
    return list_suppressed(here, Filters(**filters))[0].column("address").to_pylist()


def test_without_pending_actions_the_lists_are_as_published(home):
    here = home(
        Fact("ann@mail.example"),
        Fact("bob@mail.example"),
        decided("bob@mail.example", datetime(2026, 3, 9), is_removal=True),
        Fact("wes@wish.example", list_name="global", cause="complaint"),
    )
    assert addresses(here) == ["ann@mail.example"]
    assert addresses(here, list_name="global") == ["wes@wish.example"]
    with open_current(here) as current:
        assert current.pending_count == 0
        assert not any(
            pending for (pending,) in current.connection.execute("select is_pending from history").fetchall()
        )


def test_an_action_counts_at_once_and_only_for_its_list(home):
    here = home(Fact("ann@mail.example"), Fact("ann@mail.example", list_name="global", cause="complaint"))
    write_action(here, "add", "Bob@Mail.example", by="eve", reason="asked")
    write_action(here, "remove", "ann@mail.example", by="eve", reason="mailbox is back")
    assert addresses(here) == ["bob@mail.example"]
    assert addresses(here, list_name="global") == ["ann@mail.example"]
    write_action(here, "remove", "ann@mail.example", by="eve", reason="asked again", list_name="global")
    assert addresses(here, list_name="global") == []
    states = find_history(here, "BOB@mail.example").states
    assert states["suppression"]["is_pending"] and states["global"] is None


def test_what_a_build_has_taken_in_is_not_pending_any_more(home):
    here = home(Fact("ann@mail.example"))
    path, _ = write_action(here, "remove", "ann@mail.example", by="eve", reason="asked")
    assert addresses(here) == []
    action = json.loads(path.read_text())
    # published again, with the action landed but (here) not applied: the files no longer speak
    publish(here.published_database, [Fact("ann@mail.example")], [action["action_id"]])
    assert addresses(here) == ["ann@mail.example"]


def test_a_cut_or_foreign_line_hides_no_other_action(home):
    here = home(Fact("ann@mail.example"))
    path, _ = write_action(here, "remove", "ann@mail.example", by="eve", reason="asked")
    with path.open("a") as file:
        file.write(
            '[1]\n"x"\nnot json\n{"action_id": {"a": 1}}\n{"action_id": "x", "action": "burn", "at": "2026-01-01"}\n'
        )
        file.write(
            json.dumps({**start_record("add", by="e", reason="r"), "address": "c@x.example", "list": "mine"}) + "\n"
        )
        file.write(
            json.dumps({**start_record("add", by="e", reason="r"), "address": "d@x.example", "at": "soon"}) + "\n"
        )
        file.write('{"action_id": "cut off in the mid')
    write_action(here, "add", "bob@mail.example", by="eve", reason="asked")
    with open_current(here) as current:
        assert current.pending_count == 2
    assert addresses(here) == ["bob@mail.example"]


def test_what_a_recovery_will_do_shows_at_once(home):
    here = home(
        Fact("ann@mail.example", MARCH),
        Fact("bob@mail.example", MARCH),
        Fact("bob@mail.example", MARCH + timedelta(days=9)),  # again, after the wave
        Fact("late@mail.example", MARCH + timedelta(hours=30), event_type="out_of_band_bounce"),
        Fact("eve@mail.example", MARCH),
        decided("eve@mail.example", MARCH + timedelta(days=1)),
    )
    path = apply(here, Recovery(MARCH, MARCH + timedelta(hours=1)), by="eve", why="wave")
    assert addresses(here) == ["bob@mail.example", "eve@mail.example"]
    events = find_history(here, "ann@mail.example").events
    assert [(event["action"], event["acted_by"], event["why"], event["is_pending"]) for event in events] == [
        ("added", "bouncehouse", "hard bounce", False),
        ("reverted", "eve", "wave", True),
    ]
    assert events[1]["occurred_at"].isoformat() in path.read_text()


def test_the_filters_choose(home):
    here = home(
        Fact("ann@mail.example", datetime(2026, 3, 1)),
        Fact("bob@other.example", datetime(2026, 3, 2), reason="mailbox_inactive", source_name="ses"),
        decided("cyd@other.example", datetime(2026, 3, 3)),
    )
    assert addresses(here, domain="OTHER.example") == ["bob@other.example", "cyd@other.example"]
    assert addresses(here, reason="mailbox_inactive") == ["bob@other.example"]
    assert addresses(here, reason="administrator") == ["cyd@other.example"]
    assert addresses(here, source="ses") == ["bob@other.example"]
    assert addresses(here, since=datetime(2026, 3, 2)) == ["bob@other.example", "cyd@other.example"]
    assert addresses(here, until=datetime(2026, 3, 2)) == ["ann@mail.example"]
    table, total = list_suppressed(here, Filters(), 1)
    assert (table.num_rows, total) == (1, 3)


def test_why_tells_all_that_came_with_the_replies(home):
    here = home(
        Fact("ann@mail.example", MARCH),
        Fact("ann@mail.example", MARCH + timedelta(days=1), reply="550 still gone"),
        decided("ann@mail.example", MARCH + timedelta(days=2), is_removal=True),
        decided("ann@mail.example", MARCH + timedelta(days=3), is_removal=True, list_name="global"),
        Fact("ann@mail.example", MARCH + timedelta(days=4), list_name="global", cause="complaint", reply=None),
    )
    history = find_history(here, " Ann <ann@mail.example>".replace("Ann <", "").replace(">", ""))
    assert [(event["list_name"], event["action"], event["response_text"]) for event in history.events] == [
        ("suppression", "added", "550 5.1.1 no such user"),
        ("suppression", "bounced again", "550 still gone"),
        ("suppression", "removed", None),
        ("global", "removed, though not on it", None),
        ("global", "added", None),
    ]
    assert history.states["suppression"] is None
    assert history.states["global"]["suppressed_at"] == MARCH + timedelta(days=4)
    assert find_history(here, "nobody@mail.example").events == []


@pytest.mark.parametrize("seed", range(4))
def test_applied_now_is_as_taken_in_later(home, seed):
    """Decisions of any order, pending, give the lists that a build gives which has them among its causes."""
    source = random.Random(seed)
    names = ["ann@mail.example", "bob@mail.example", "cyd@other.example"]
    facts = [
        Fact(source.choice(names), MARCH + timedelta(hours=source.randrange(200)), event_type=kind)
        for kind in source.choices(["bounced", "out_of_band_bounce"], k=8)
    ]
    here = home(*facts)
    taken = []
    for _ in range(6):
        action, address = source.choice(["add", "remove"]), source.choice(names)
        list_name = source.choice(["suppression", "global"])
        path, _ = write_action(here, action, address, by="eve", reason="r", list_name=list_name)
        at = datetime.fromisoformat(json.loads(path.read_text().splitlines()[-1])["at"]).replace(tzinfo=None)
        taken.append(decided(address, at, is_removal=action == "remove", list_name=list_name, why="r"))
    with open_current(here) as current:
        pending = [
            current.connection.execute(f"select address, suppressed_at, cause from {view} order by all").fetchall()
            for view in ("suppressed", "globally_suppressed")
        ]
    publish(here.published_database, facts + taken)
    for path in here.actions.iterdir():
        path.unlink()
    with open_current(here) as current:
        built = [
            current.connection.execute(f"select address, suppressed_at, cause from {view} order by all").fetchall()
            for view in ("suppressed", "globally_suppressed")
        ]
    assert pending == built


def test_an_older_publication_is_said_to_be_so(home):
    import duckdb

    here = home(Fact("ann@mail.example"))
    with duckdb.connect(str(here.published_database)) as connection:
        connection.execute("drop table marts.ops_actions")
    with pytest.raises(ActionableError, match="older bouncehouse"):
        addresses(here)


def test_the_macros_can_be_rendered_without_dbt():
    assert "idna_domain" in read_macros().normal_address("address")
