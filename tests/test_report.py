import tempfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.problems import ActionableError, WrongUsageError
from flows.report import (
    NOT_LOGGED,
    Selection,
    choose_period,
    count_by_day,
    find_campaigns,
    find_instants,
    has_campaign,
    report,
)
from tests.published_database import Bounce, NonDelivery, make_published

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)

moments = st.datetimes(datetime(2026, 3, 26), datetime(2026, 4, 2))
groups = st.sampled_from(["a.example", "b.example", None])
ips = st.sampled_from(["192.0.2.1", "2001:db8::1", None])
campaigns = st.sampled_from(["spring", "autumn", "'; drop table marts.fct_bounces; --", None])
texts = st.sampled_from(["451 later", "550 no", "=cmd()"])

bounces = st.builds(
    Bounce,
    event_at=moments,
    from_domain=groups,
    sending_ip=ips,
    campaign_id=campaigns,
    recipient_domain=groups,
    bounce_class=st.sampled_from(["soft", "hard"]),
    bounce_text=texts,
)
non_deliveries = st.builds(
    NonDelivery,
    undelivered_at=moments,
    from_domain=groups,
    sending_ip=ips,
    campaign_id=campaigns,
    recipient_domain=groups,
    cause=st.sampled_from(["hard_bounce", "expired"]),
    bounce_class=st.sampled_from(["soft", "hard", None]),
    bounce_text=st.one_of(texts, st.none()),
)
selections = st.builds(
    lambda first, days, **rest: Selection(first, first + timedelta(days=days), **rest),
    first=st.dates(date(2026, 3, 26), date(2026, 4, 2)),
    days=st.integers(0, 4),
    campaign=campaigns,
    group_by=st.sampled_from(["from_domain", "sending_ip"]),
    bounce_class=st.sampled_from(["soft", "hard", "all"]),
    is_undeliveries=st.booleans(),
    # summer time began in Berlin on 2026-03-29 and in Chatham ends on 2026-04-05
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Chatham"]),
)


def count_facts(facts: list, selection: Selection) -> Counter:
    """The report by plain Python: each fact's own local date decides, no instants are computed."""
    counts: Counter = Counter()
    for fact in facts:
        moment = fact.undelivered_at if selection.is_undeliveries else fact.event_at
        local_day = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(selection.time_zone)).date()
        if not selection.first_day <= local_day <= selection.last_day:
            continue
        if selection.campaign is not None and fact.campaign_id != selection.campaign:
            continue
        if selection.bounce_class not in ("all", fact.bounce_class):
            continue
        counts[
            getattr(fact, selection.group_by) or NOT_LOGGED,
            fact.recipient_domain or NOT_LOGGED,
            fact.cause if selection.is_undeliveries else None,
            fact.bounce_class,
            fact.bounce_text,
            fact.reason,
        ] += 1
    return counts


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(bounces, st.integers(1, 4)), max_size=20),
    st.lists(st.tuples(non_deliveries, st.integers(1, 4)), max_size=20),
    st.lists(selections, min_size=1, max_size=8),
)
def test_amounts_are_the_facts_for_any_selection(repeated_bounces, repeated_undelivered, asked):
    bounce_facts = [fact for fact, times in repeated_bounces for _ in range(times)]
    undelivered_facts = [fact for fact, times in repeated_undelivered for _ in range(times)]
    with tempfile.TemporaryDirectory() as folder:
        database = make_published(Path(folder) / "b.duckdb", bounce_facts, undelivered_facts)
        for selection in asked:
            table = report(database, selection)
            found = {
                (
                    row[selection.group_by],
                    row["recipient_domain"],
                    row.get("cause"),
                    row["bounce_class"],
                    row["bounce_text"],
                    row["reason"],
                ): row["amount"]
                for row in table.to_pylist()
            }
            facts = undelivered_facts if selection.is_undeliveries else bounce_facts
            assert len(found) == table.num_rows
            assert found == dict(count_facts(facts, selection))


def test_rows_come_largest_first_in_one_order(tmp_path):
    facts = [Bounce(datetime(2026, 3, 5), from_domain=name) for name in "cab" for _ in range(2)]
    facts += [Bounce(datetime(2026, 3, 5), from_domain="z") for _ in range(3)]
    forwards = report(make_published(tmp_path / "1.duckdb", facts), Selection(FIRST, LAST))
    backwards = report(make_published(tmp_path / "2.duckdb", reversed(facts)), Selection(FIRST, LAST))
    assert forwards.column("from_domain").to_pylist() == ["z", "a", "b", "c"]
    assert forwards.equals(backwards)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)])
def test_a_local_day_has_the_hours_that_it_has(day, hours):
    starts_at, ends_at = find_instants(Selection(day, day, time_zone="Europe/Berlin"))
    assert ends_at - starts_at == timedelta(hours=hours)


def test_a_local_day_takes_its_first_instant_and_not_its_last(tmp_path):
    starts_at, ends_at = datetime(2026, 3, 28, 23), datetime(2026, 3, 29, 22)  # 29 March in Berlin, 23 hours
    moments = [starts_at - timedelta(microseconds=1), starts_at, ends_at - timedelta(microseconds=1), ends_at]
    database = make_published(tmp_path / "b.duckdb", [Bounce(moment) for moment in moments])
    day = date(2026, 3, 29)
    (row,) = report(database, Selection(day, day, time_zone="Europe/Berlin")).to_pylist()
    assert row["amount"] == 2


@pytest.mark.parametrize(("time_zone", "days"), [("UTC", {2: 1, 3: 1, 4: 1}), ("Europe/Berlin", {3: 2, 4: 1})])
def test_amounts_by_day_are_of_the_time_zones_days(tmp_path, time_zone, days):
    moments = [datetime(2026, 3, 3, 23, 30), datetime(2026, 3, 4, 0, 30), datetime(2026, 3, 5, 12)]
    database = make_published(tmp_path / "b.duckdb", [Bounce(moment) for moment in moments])
    selection = Selection(FIRST, LAST, time_zone=time_zone)
    (row,) = report(database, selection, with_days=True).to_pylist()
    assert dict(row["amounts_by_day"]) == days
    counted = count_by_day(database, selection).to_pylist()
    assert {(each["day"] - FIRST).days: each["amount"] for each in counted} == days


def test_a_day_that_the_calendar_skipped_is_empty():
    # Samoa went from 29 to 31 December 2011
    starts_at, ends_at = find_instants(Selection(date(2011, 12, 30), date(2011, 12, 30), time_zone="Pacific/Apia"))
    assert starts_at == ends_at


def test_the_whole_original_message_comes_along(tmp_path):
    database = make_published(
        tmp_path / "b.duckdb",
        [Bounce(datetime(2026, 3, 5), bounce_text="451 <EMAIL> later")],
        samples={"451 <EMAIL> later": "451 ann@mail.example later"},
    )
    (row,) = report(database, Selection(FIRST, LAST)).to_pylist()
    assert row["sample_message"] == "451 ann@mail.example later"
    assert row["description"] == "about 451 <EMAIL> later"


@pytest.mark.parametrize("is_undeliveries", [False, True])
def test_an_empty_period_keeps_the_header(tmp_path, is_undeliveries):
    database = make_published(tmp_path / "b.duckdb", [Bounce(datetime(2026, 3, 5))])
    table = report(database, Selection(date(2020, 1, 1), date(2020, 1, 2), is_undeliveries=is_undeliveries))
    cause = ["cause"] if is_undeliveries else []
    assert table.num_rows == 0
    assert table.column_names == [
        "from_domain", "recipient_domain", *cause, "bounce_class", "bounce_text", "description", "reason", "amount",
        "sample_message",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"first_day": date(2026, 3, 2), "last_day": date(2026, 3, 1)}, "2026-03-02 is after --to 2026-03-01"),
        ({"time_zone": "Middle/Earth"}, "Middle/Earth"),
        ({"time_zone": "../../etc/passwd"}, "passwd"),
        ({"time_zone": "America"}, "America"),
        ({"time_zone": ""}, "time zone"),
        ({"group_by": "campaign_id); drop table x; --"}, "grouping"),
        ({"bounce_class": "firm"}, "firm"),
        ({"last_day": date(9999, 12, 31)}, "9999-12-31"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(arguments, says):
    with pytest.raises(WrongUsageError) as refused:
        Selection(**{"first_day": FIRST, "last_day": LAST} | arguments)
    assert says in refused.value.cause


def test_the_period_ends_on_the_newest_day_of_the_zone(tmp_path):
    database = make_published(tmp_path / "b.duckdb", data_through_at=datetime(2026, 3, 31, 23, 30))
    assert choose_period(database, first_day=None, last_day=None, days=30) == (date(2026, 3, 2), date(2026, 3, 31))
    assert choose_period(database, first_day=None, last_day=None, days=30, time_zone="Europe/Berlin") == (
        date(2026, 3, 3),
        date(2026, 4, 1),
    )
    assert choose_period(database, first_day=None, last_day=date(2026, 1, 1), days=1) == (
        date(2026, 1, 1),
        date(2026, 1, 1),
    )


def test_campaigns_are_known_by_name_only(tmp_path):
    database = make_published(
        tmp_path / "b.duckdb",
        [Bounce(datetime(2026, 3, 5), campaign_id=name) for name in ["small", "big", "big", None, None, None]],
        [NonDelivery(datetime(2026, 3, 5), campaign_id="final")],
    )
    assert find_campaigns(database) == ["big", "final", "small"]
    assert has_campaign(database, "final")
    assert not has_campaign(database, "")
    assert not has_campaign(database, "SMALL")


def test_before_the_first_run_the_report_says_what_to_do(tmp_path):
    with pytest.raises(ActionableError, match="nothing is published yet") as refused:
        report(tmp_path / "bouncehouse.duckdb", Selection(FIRST, LAST))
    assert "bouncehouse run" in refused.value.remedy


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "bouncehouse.duckdb").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(ActionableError, match=r"cannot open .*bouncehouse\.duckdb"):
        report(tmp_path / "bouncehouse.duckdb", Selection(FIRST, LAST))
