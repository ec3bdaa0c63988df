"""The warehouse does not depend on how the logs came: order, splits, repetition, kills, late files, rebuilds."""

import gzip
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import duckdb
import pytest
import zstandard

from flows import build, landing, publish
from flows.dbt_macros import read_macros
from flows.settings import Settings
from tests import marts
from tests.conftest import Logs, Warehouse, kill_a_build, land_all, run_all, write_events

pytestmark = pytest.mark.xdist_group("invariants")

SEED = 20260302


RESTATED = """
    select
        *,
        old_value = coalesce(lag(new_value) over changes, old_value) and old_value <> new_value
        and (
            lead(new_value) over changes is not null
            or figure <> 'delivered_count'
            or new_value = coalesce((
                select sum(delivered_count)
                from marts.rpt_delivery_daily as daily
                where
                    daily.event_date = restated.event_date and daily.source_name = restated.source_name
                    and daily.campaign_id is not distinct from restated.campaign_id
            ), 0)
        ) as is_chained
    from marts.ops_restatements as restated
    window changes as (partition by event_date, source_name, campaign_id, figure order by restated_at)
    order by all
"""
"""Each restatement, and whether it begins where the one before ended and the last one ends at what is published."""


def read_lines(path: Path) -> list[bytes] | None:
    """The lines of a log that may be cut between any two of them; None for one that may not."""
    content = path.read_bytes()
    if path.name.endswith((".parquet", ".csv")) or "dsn" in path.parts:
        return None
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
            try:
                content = reader.read()
            except zstandard.ZstdError:
                return None
    elif content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    lines = content.splitlines(keepends=True)
    if {"postfix", "exim"} & set(path.parts) or all(line.startswith((b"{", b"[")) for line in lines):
        return lines
    return None  # one document over several lines


def deal_out(logs: Path, days: list[Path], generator: random.Random) -> None:
    """Cut each log into overlapping pieces and deal them over the days in any order, some twice."""
    for path in sorted(logs.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(logs)
        lines = read_lines(path)
        if lines is None or len(lines) < 4:
            chosen = generator.choice(days) / name
            chosen.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, chosen)
            continue
        cuts = sorted({0, len(lines), *(generator.randrange(len(lines)) for _ in range(2))})
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            for day in {generator.choice(days), generator.choice(days)}:
                # the name keeps the date that a log without years needs
                piece = day / name.with_name(f"{name.name.removesuffix('.gz')}.{number}")
                piece.parent.mkdir(parents=True, exist_ok=True)
                piece.write_bytes(b"".join(lines[max(0, start - 3) : end]))
                shutil.copystat(path, piece)


def test_order_splits_and_repetition_change_nothing(tmp_path: Path, logs: Logs, generated: Warehouse) -> None:
    """Invariants 1, 4, 6 and 8: three daily runs over pieces in any order, then a rebuild, equal one run over all.

    What the runs restated adds up to what is published in the end, and the rebuild forgets none of it.
    """
    generator = random.Random(SEED)
    days = [tmp_path / f"day-{number}" for number in range(3)]
    models = []
    deal_out(logs.folder, days, generator)
    settings = Settings(home=tmp_path / "home", inbox_directory=tmp_path / "inbox")
    for day in days:
        shutil.copytree(day, settings.inbox, dirs_exist_ok=True)
        daily = run_all(settings)
        assert daily.result.is_built
        models.append(daily.result.models)
    assert models[0] == models[1] > models[2]  # views are as they were
    assert marts.differences(generated.database, daily.database) == {}
    assert not build.build(settings).is_built  # every landed file was built, and is not built again
    restated = marts.read(daily.database, RESTATED)
    assert len(restated) > 100
    assert all(is_chained for *_, is_chained in restated)
    settings.work_database.unlink()
    rebuilt = run_all(settings)
    assert marts.differences(generated.database, rebuilt.database) == {}
    assert marts.read(rebuilt.database, RESTATED) == restated


@pytest.mark.long
def test_work_database_lost_is_rebuilt_from_landing(tmp_path: Path, logs: Logs, generated: Warehouse) -> None:
    """Invariant 8, with neither inbox nor work database left."""
    home = tmp_path / "home"
    shutil.copytree(generated.settings.landing, home / "landing")
    shutil.copytree(generated.settings.rejects, home / "rejects")
    settings = Settings(home=home)
    build.build(settings)
    publish.publish(settings)
    assert marts.differences(generated.database, settings.published_database) == {}


@pytest.mark.long
def test_a_great_batch_is_cut_and_builds_the_same(
    tmp_path: Path, logs: Logs, generated: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged by many portions, events and messages made by several shares, at once and of a batch that comes after.

    Events that are made at once lie by day all the same, so that of later builds none has to look through all of them.
    """
    monkeypatch.setenv("DBT_ENV_CUSTOM_ENV_RECORDS_AT_ONCE", "40")
    settings = Settings(home=tmp_path / "home", inbox_directory=tmp_path / "inbox")
    for source in ("kumomta", "dsn"):
        shutil.copytree(logs.folder / source, settings.inbox / source)
    made = run_all(settings)
    events = marts.read(made.database, "select event_date from marts.fct_delivery_events order by rowid")
    assert events == sorted(events)
    assert len(events) > 8 * 40  # of several shares
    shutil.copytree(logs.folder, settings.inbox, dirs_exist_ok=True)
    cut = run_all(settings)
    assert marts.differences(generated.database, cut.database) == {}


@pytest.mark.torture
def test_files_landed_one_by_one_build_the_same(tmp_path: Path, logs: Logs, generated: Warehouse) -> None:
    """Small files are landed in packs: that shows neither in the marts nor in what they say of each file."""
    settings = Settings(home=tmp_path / "home", inbox_directory=logs.folder)
    for arrival in landing.find_arrivals(settings).files:
        landing.land_file(settings, arrival)
    assert not any(load.pack for load in landing.read_loads(settings))
    assert len({load.pack for load in landing.read_loads(generated.settings)}) > 5
    build.build(settings)
    publish.publish(settings)
    assert marts.differences(generated.database, settings.published_database) == {}
    for mart in ("ops_loads", "ops_rejects", "ops_ignored"):
        query = (
            f"select * exclude (landed_at) from marts.{mart} order by all"
            if mart != "ops_ignored"
            else ("select * from marts.ops_ignored order by all")
        )
        assert marts.read(settings.published_database, query) == marts.read(generated.database, query)


def test_file_landed_while_a_build_ran_is_built_by_the_next(tmp_path: Path, logs: Logs) -> None:
    """Invariant 4: what counts as built is what the build took in, not what lies there when it ends."""
    settings = Settings(home=tmp_path / "home")
    shutil.copytree(logs.folder / "events", settings.inbox / "events")
    last = sorted(path for path in settings.inbox.rglob("*") if path.is_file())[-1]
    kept = last.read_bytes()
    last.unlink()
    land_all(settings)
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from flows import build;"
         "from flows.settings import Settings; build.build(Settings(home=Path(sys.argv[1])))", str(settings.root)],
    )  # fmt: skip
    while not settings.dbt_target.exists() and process.poll() is None:
        time.sleep(0.05)
    last.write_bytes(kept)
    [load] = land_all(settings)
    assert process.wait() == 0
    assert run_all(settings).result.files == 1
    [(events,)] = marts.read(
        settings.published_database,
        f"select staged_event_count from marts.ops_loads where file_digest = '{load.file_digest}'",
    )
    assert events == load.records_landed


def test_failed_test_publishes_nothing_and_names_the_rows(tmp_path: Path, logs: Logs) -> None:
    settings = Settings(home=tmp_path / "home")
    shutil.copytree(logs.folder / "events", settings.inbox / "events")
    before = run_all(settings)
    published = before.database.read_bytes()
    # a load record that claims a record more than there is: somebody's hand, or a defect
    load = next((settings.landing / "events").glob("*.json"))
    load.write_text(load.read_text().replace('"records_read": ', '"records_read": 1'))
    settings.work_database.unlink()
    with pytest.raises(build.BuildFailed) as failure:
        build.build(settings)
    assert "assert_nothing_is_lost_or_counted_twice" in str(failure.value)
    assert "records_read = 1" in failure.value.details
    assert "\n" not in failure.value.cause
    assert before.database.read_bytes() == published


def test_files_that_are_no_logs_are_told_and_stop_nothing(tmp_path: Path, logs: Logs) -> None:
    """An image, an empty file, a folder of no source and a link into nowhere, beside a good log."""
    settings = Settings(home=tmp_path / "home")
    shutil.copytree(logs.folder / "events", settings.inbox / "events")
    (settings.inbox / "kumomta").mkdir()
    (settings.inbox / "kumomta" / "logo").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (settings.inbox / "postfix").mkdir()
    (settings.inbox / "postfix" / "mail.log").touch()
    (settings.inbox / "ses").mkdir()
    (settings.inbox / "ses" / "gone").symlink_to("nowhere")
    (settings.inbox / "sendmail").mkdir()
    built = run_all(settings)
    rows = marts.read(
        built.database,
        """select source_file, records_rejected, message from marts.ops_loads
        where source_name <> 'events' order by 1""",
    )
    assert [(name, rejected) for name, rejected, _ in rows] == [("kumomta/logo", 1), ("postfix/mail.log", 0)]
    assert "a PNG image" in rows[0][2]
    assert marts.read(built.database, "select reason from marts.ops_rejects where source_name = 'kumomta'") == [
        ("a file of another kind: a PNG image",)
    ]
    assert marts.read(built.database, "select count(*) > 100 from marts.fct_delivery_events") == [(True,)]


def test_readers_never_see_half_a_publication(generated: Warehouse) -> None:
    """A reader that holds the old file keeps it whole while the new one takes its name."""
    query = "select count(*) from marts.fct_delivery_events"
    with duckdb.connect(generated.database, read_only=True) as reader:
        before = reader.execute(query).fetchone()
        publish.publish(generated.settings)
        assert reader.execute(query).fetchone() == before
    assert marts.read(generated.database, query) == [before]


@pytest.mark.long
def test_event_that_a_copy_moves_to_another_day_leaves_its_first(tmp_path: Path) -> None:
    """It is known by its id, and comes again with an earlier time, then with a later one: the earliest counts."""
    home = Settings(home=tmp_path)
    folder = home.inbox / "events"
    folder.mkdir(parents=True)
    for day, expected in (("03", "2026-03-03"), ("02", "2026-03-02"), ("04", "2026-03-02")):
        event = {
            "native_event_id": "e1", "event_type": "bounced", "event_at": f"2026-03-{day}T10:00:00Z", "message_id": "m1",
            "recipient": "ada@a.example", "smtp_code": 550, "response_text": "550 5.1.1 no such user",
        }  # fmt: skip
        (folder / f"{day}.jsonl").write_text(json.dumps(event) + "\n")
        run_all(home)
        for mart in ("fct_delivery_events", "fct_bounces", "rpt_bounces_daily", "rpt_delivery_daily"):
            days = marts.read(home.published_database, f"select cast(event_date as varchar) from marts.{mart}")
            assert days == [(expected,)], mart


FILTERED = (
    """2026-03-02T08:00:00Z mta1 postfix/cleanup[9]: 9F1C2A00B1: info: header From: News <news@brand.example> from app.example[192.0.2.8]; from=<b@brand.example> to=<ada@a.example> proto=ESMTP helo=<app>
2026-03-02T08:00:00Z mta1 postfix/cleanup[9]: 9F1C2A00B1: info: header X-Campaign: spring from app.example[192.0.2.8]; from=<b@brand.example> to=<ada@a.example> proto=ESMTP helo=<app>
2026-03-02T08:00:01Z mta1 postfix/qmgr[9]: 9F1C2A00B1: from=<b@brand.example>, size=900, nrcpt=1 (queue active)
""",
    """2026-03-04T08:00:00Z mta1 postfix/smtp[9]: 9F1C2A00B1: to=<ada@a.example>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 8E2C2A00B2)
""",
    """2026-03-05T08:00:00Z mta1 postfix/smtp[9]: 8E2C2A00B2: to=<ada@a.example>, relay=mx.a.example[192.0.2.1]:25, delay=1, dsn=2.0.0, status=sent (250 ok)
""",
)
"""What Postfix logs of a message that waits two days for its content filter, and one more under the id that it has then."""


@pytest.mark.long
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_what_a_content_filter_gave_back_is_found_on_other_days(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Invariant 6, where what is said of the first queue id lies on days of which the second has nothing."""
    settings = Settings(home=tmp_path)
    for number in order:
        path = settings.inbox / "postfix" / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILTERED[number])
        run_all(settings)
    query = "select event_type, recipient, envelope_sender, from_domain, campaign_id from marts.fct_delivery_events"
    found = marts.read(settings.published_database, query)
    assert found == [("delivered", "ada@a.example", "b@brand.example", "brand.example", "spring")]


def test_what_time_ends_keeps_one_row_for_each_recipient(tmp_path: Path) -> None:
    """The second batch is of other days than any of the message's, and of its recipients only one is in flight."""
    settings = Settings(home=tmp_path)
    (settings.inbox / "events").mkdir(parents=True)
    line = '{{"event_type": "{type}", "event_at": "{at}", "recipient": "{name}@slow.example", "message_id": "{id}"}}\n'
    bob = line.format(type="delivered", at="2026-03-01T12:00:00Z", name="bob", id="m1")
    ann = line.format(type="deferred", at="2026-03-05T12:00:00Z", name="ann", id="m1")
    cleo = line.format(type="delivered", at="2026-03-20T12:00:00Z", name="cleo", id="m2")
    outcomes = []
    for name, lines in (("first", bob + ann), ("second", cleo)):
        (settings.inbox / "events" / f"{name}.jsonl").write_text(lines)
        run_all(settings)
        query = "select split_part(recipient, '@', 1), outcome from marts.fct_messages order by all"
        outcomes.append(marts.read(settings.published_database, query))
    before, after = outcomes
    assert before == [("ann", "in_flight"), ("bob", "delivered")]
    assert after == [("ann", "undelivered"), ("bob", "delivered"), ("cleo", "delivered")]


def test_a_report_in_a_group_that_waits_may_speak_of_a_message_that_does_not(tmp_path: Path) -> None:
    """Cleo's report names a message that was never logged to her, and is of the one before it; Bob still waits for his."""
    settings = Settings(home=tmp_path / "home")
    write_events(
        settings,
        "first",
        ("delivered", "2026-03-03T08:00:00Z", "cleo@reported.example", "first"),
        ("out_of_band_bounce", "2026-03-09T08:00:00Z", "cleo@reported.example", "second"),
        ("deferred", "2026-03-09T09:00:00Z", "bob@reported.example", "second"),
    )
    run_all(settings)
    write_events(settings, "later", ("delivered", "2026-03-10T08:00:00Z", "ada@reported.example", "third"))
    finished = run_all(settings)
    with duckdb.connect(settings.work_database, read_only=True) as connection:
        waiting, judged = (
            connection.execute(f"select count(*) from intermediate.int_message_groups__{which}").fetchone()
            for which in ("waiting", "judged")
        )
        assert (waiting, judged) == ((1,), (1,))
    query = "select recipient, message_id, outcome from marts.fct_messages order by all"
    assert marts.read(finished.database, query) == [
        ("ada@reported.example", "third", "delivered"),
        ("bob@reported.example", "second", "in_flight"),
        ("cleo@reported.example", "first", "undelivered"),
    ]


@pytest.mark.long
def test_what_was_sent_since_a_late_bounce_is_found_though_a_report_is_older_than_its_log(tmp_path: Path) -> None:
    """Messages begin with the first of all that is known of them: with a report of the evening before, of another name or not."""
    settings = Settings(home=tmp_path / "home")
    apart, beside = "bob@early.example", "ann@early.example"
    write_events(
        settings,
        "first",
        ("complaint", "2026-03-04T23:57:00Z", apart, "of its own"),
        ("delivered", "2026-03-05T00:01:00Z", apart, "m5"),
        ("complaint", "2026-03-03T12:00:00Z", beside, "m6"),
        ("delivered", "2026-03-06T12:00:00Z", beside, "m6"),
    )
    run_all(settings)
    write_events(settings, "late", *(("bounced", "2026-03-02T08:00:00Z", to, f"to {to}") for to in (apart, beside)))
    database = run_all(settings).database
    sends = "select recipient, event_date, is_in_flight from marts.fct_suppressed_sends order by all"
    assert marts.read(database, sends) == [(beside, date(2026, 3, 6), False), (apart, date(2026, 3, 5), False)]
    began = "select recipient, first_event_date from marts.fct_messages where message_id in ('m5', 'm6') order by all"
    assert marts.read(database, began) == [(beside, date(2026, 3, 3)), (apart, date(2026, 3, 4))]
    whole = Settings(home=tmp_path / "whole", inbox_directory=settings.inbox)
    assert marts.differences(run_all(whole).database, database) == {}


def find_same_numbers(key: str) -> list[str]:
    """Two addresses for which an expression over `address` gives one number: of two hundred thousand there are some."""
    with duckdb.connect() as connection:
        row = connection.execute(
            f"""select list(address order by address) as addresses
            from (select 'n' || number || '@same.example' as address from range(200000) as numbers (number))
            group by {key} having count(*) > 1 order by addresses limit 1"""
        ).fetchone()
    assert row
    return list(row[0][:2])


def test_messages_that_only_share_a_number_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """What is looked for in all of history is found by numbers of four bytes, and then compared as text."""
    settings = Settings(home=tmp_path)
    listed, other = find_same_numbers(read_macros().recipient_key("address"))
    reported, unreported = find_same_numbers(read_macros().report_key("address", "'again'"))
    write_events(
        settings,
        "first",
        *(("delivered", f"2026-03-0{day}T08:00:00Z", to, f"m{day}") for day, to in ((5, listed), (6, other))),
        ("delivered", "2026-03-07T08:00:00Z", unreported, "again"),
    )
    run_all(settings)
    write_events(settings, "late", ("bounced", "2026-03-02T08:00:00Z", listed, "m2"))
    write_events(settings, "report", ("out_of_band_bounce", "2026-03-09T08:00:00Z", reported, "again"))
    database = run_all(settings).database
    assert marts.read(database, "select recipient from marts.fct_suppressed_sends") == [(listed,)]
    assert marts.read(database, "select linked_by from marts.fct_report_links") == [(None,)]
    outcomes = "select outcome from marts.fct_messages where recipient = ? and message_id = 'again'"
    with duckdb.connect(database, read_only=True) as connection:
        assert connection.execute(outcomes, [unreported]).fetchall() == [("delivered",)]


@pytest.mark.long
def test_a_killed_build_leaves_known_by_which_links_it_judged(tmp_path: Path) -> None:
    """So that the next build judges again what these, or its own, have changed, and not the message of every report."""
    settings = Settings(home=tmp_path / "home")

    for name in ("gina", "hope"):
        address = f"{name}@reported.example"
        sent = ("delivered", "2026-03-01T08:00:00Z", address, f"{name}-first")
        reported = ("out_of_band_bounce", "2026-03-03T08:00:00Z", address, f"{name}-report")
        write_events(settings, name, sent, reported)
    run_all(settings)
    write_events(settings, "later", ("delivered", "2026-03-02T08:00:00Z", "gina@reported.example", "gina-second"))
    land_all(settings)
    kill_a_build(settings, "build.dbt_ended")
    finished = run_all(settings)
    with duckdb.connect(settings.work_database, read_only=True) as connection:
        judged_by = "select report_recipient, message_id from intermediate.int_report_links__before order by all"
        assert connection.execute(judged_by).fetchall() == [
            ("gina@reported.example", "gina-first"),
            ("gina@reported.example", "gina-second"),
            ("hope@reported.example", "hope-first"),
        ]
        assert connection.execute("select count(*) from intermediate.int_report_links__changed").fetchone() == (1,)
    whole = tmp_path / "whole"
    shutil.copytree(settings.root, whole, ignore=shutil.ignore_patterns("*.duckdb*"))
    assert marts.differences(run_all(Settings(home=whole)).database, finished.database) == {}
