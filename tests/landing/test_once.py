"""Each content lands once: cache, repeats, runs at once, killed runs; any split of a file lands the same records."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.landing import InboxMissing, Known, Load, Unreadable, find_arrivals, land_file, read_loads, remember
from flows.landing.loads import landing_path
from flows.settings import Settings

from .conftest import Home
from .records import STATUS_LINE, kumo

GOOD = kumo().encode() + b"\n"


def age(path: Path) -> None:
    os.utime(path, (1772445600, 1772445600))


def run(home: Home) -> list[Load | Known | Unreadable]:
    files = find_arrivals(home.settings).files
    outcomes = [land_file(home.settings, arrival) for arrival in files]
    remember(home.settings, zip(files, outcomes, strict=True))
    return outcomes


def test_missing_inbox_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InboxMissing, match=r"no inbox at .*nowhere.*kumomta, .*events"):
        find_arrivals(Settings(home=tmp_path / "nowhere"))


def test_empty_inbox_is_no_error(home: Home) -> None:
    arrivals = find_arrivals(home.settings)
    assert (arrivals.files, arrivals.unreadable, arrivals.unknown_folders) == ([], [], [])


def test_what_is_passed_over_and_what_is_reported(home: Home) -> None:
    for name in (
        "kumomta/.hidden",
        "kumomta/a.tmp",
        "kumomta/a.part",
        "kumomta/.dir/a",
        "kumomta/deep/er/b",
        "kumomta/a",
    ):
        home.put(name, GOOD)
    home.put("sendmail/log", GOOD)
    home.put("stray.log", GOOD)
    arrivals = find_arrivals(home.settings)
    assert [arrival.source_file for arrival in arrivals.files] == ["kumomta/a", "kumomta/deep/er/b"]
    assert arrivals.unknown_folders == ["sendmail"]
    assert [each.source_file for each in arrivals.unreadable] == ["stray.log"]


def test_a_name_that_is_not_text_is_shown_safely(home: Home) -> None:
    folder = home.settings.inbox / "kumomta"
    folder.mkdir()
    name = os.fsencode(folder) + b"/it's \xff\x1b[2J.log"
    Path(os.fsdecode(name)).write_bytes(GOOD)
    (load,) = run(home)
    assert isinstance(load, Load)
    assert load.source_file == "kumomta/it's \\xff\\x1b[2J.log"
    assert home.rows("kumomta", columns="source_file") == [(load.source_file,)]


def test_unchanged_files_are_not_read_again(home: Home) -> None:
    path = home.put("kumomta/a", GOOD)
    age(path)
    assert isinstance(run(home)[0], Load)
    assert run(home) == []
    path.write_bytes(GOOD + GOOD)
    assert isinstance(run(home)[0], Load)


def test_a_file_changed_just_now_is_not_cached(home: Home) -> None:
    home.put("kumomta/a", GOOD)
    run(home)
    assert [type(outcome) for outcome in run(home)] == [Known]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"files": 3}', b'{"files": {"kumomta/a": [1]}}'])
def test_a_lost_or_damaged_cache_lands_nothing_twice(home: Home, damage: bytes) -> None:
    age(home.put("kumomta/a", GOOD))
    run(home)
    (home.settings.state / "seen.json").write_bytes(damage)
    assert [type(outcome) for outcome in run(home)] == [Known]
    assert len(read_loads(home.settings)) == 1


def test_a_copy_under_another_name_lands_once(home: Home) -> None:
    home.put("kumomta/a", GOOD)
    home.put("kumomta/b", GOOD)
    assert [type(outcome) for outcome in run(home)] == [Load, Known]
    assert len(home.rows("kumomta")) == 1


@pytest.mark.parametrize("harm", ["cut", "removed", "rejects removed", "record removed"])
def test_a_landing_that_was_harmed_is_landed_again(home: Home, harm: str) -> None:
    age(home.put("kumomta/a", GOOD + b"{\n"))
    (load,) = run(home)
    assert isinstance(load, Load)
    path = landing_path(home.settings, "kumomta", load.file_digest)
    match harm:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "removed":
            path.unlink()
        case "rejects removed":
            (home.settings.rejects / "kumomta" / path.name).unlink()
        case _:
            path.with_suffix(".json").unlink()
    assert read_loads(home.settings) == []
    (again,) = run(home)
    assert isinstance(again, Load)
    assert len(home.rows("kumomta")) == len(home.rejects("kumomta")) == 1


def test_the_same_content_landed_by_several_threads_at_once(home: Home) -> None:
    for number in range(6):
        home.put(f"kumomta/{number}", GOOD * 100)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda each: land_file(home.settings, each), find_arrivals(home.settings).files))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Known"] * 5 + ["Load"]
    assert len(home.rows("kumomta")) == 100


def test_leftovers_of_a_killed_run_are_removed(home: Home) -> None:
    leftover = home.settings.landing / "kumomta" / ".landing-dead"
    leftover.mkdir(parents=True)
    (leftover / "whole.parquet").write_bytes(b"half")
    find_arrivals(home.settings)
    assert not leftover.exists()


def test_nothing_temporary_is_left(home: Home) -> None:
    load = home.land_one("kumomta/a", GOOD + b"{\n" + GOOD)
    digest = load.file_digest
    assert sorted(path.name for path in (home.settings.landing / "kumomta").iterdir()) == [
        f"{digest}.json",
        f"{digest}.parquet",
    ]


def test_read_loads_gives_what_was_landed(home: Home) -> None:
    home.put("kumomta/a", GOOD)
    home.put("postfix/b", STATUS_LINE.encode() + b"\n")
    loads = run(home)
    assert read_loads(home.settings) == loads
    assert json.loads(landing_path(home.settings, "kumomta", loads[0].file_digest).with_suffix(".json").read_text())  # type: ignore[union-attr]


KUMO_LINES = st.sampled_from(
    [
        kumo(id="1"),
        kumo(id="2", type="Bounce"),
        kumo(type="Teleport"),
        kumo(id="3") + kumo(id="4"),
        "[" + kumo(id="5") + "," + kumo(id="6") + "]",
        '{"type": "Delivery", "id": "cut',
        "",
        "   ",
    ]
)
POSTFIX_LINES = st.sampled_from(
    [STATUS_LINE, STATUS_LINE.replace("postfix/smtp", "sshd"), "Feb 30 10:00:00 mx1 x: y", "no syslog", ""]
)


@pytest.mark.parametrize(
    ("source", "kinds", "key"), [("kumomta", KUMO_LINES, "id"), ("postfix", POSTFIX_LINES, "message")]
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_lands_the_same_records(
    new_home: Callable[[], Home], data: st.DataObject, source: str, kinds: st.SearchStrategy[str], key: str
) -> None:
    texts = data.draw(st.lists(kinds, min_size=1, max_size=8))
    # A number in each line makes each part a content of its own, as lines of a log are.
    numbered = [text.replace("ann@", f"ann{place}@") for place, text in enumerate(texts)]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(numbered)), max_size=3)))
    parts = [numbered[start:end] for start, end in zip([0, *cuts], [*cuts, len(numbered)], strict=True)]
    whole, split = new_home(), new_home()
    whole.put(f"{source}/whole-20260305", "".join(f"{text}\n" for text in numbered).encode())
    for place, part in enumerate(parts):
        split.put(f"{source}/part{place}-20260305", "".join(f"{text}\n" for text in part).encode())
    for home in (whole, split):
        for load in home.land():
            assert isinstance(load, Load | Known)
            if isinstance(load, Load):
                assert load.records_read == load.records_landed + load.records_rejected
    columns = f"{key}, {'recipient' if source == 'kumomta' else 'tag'}"
    assert sorted(whole.rows(source, columns=columns)) == sorted(split.rows(source, columns=columns))
