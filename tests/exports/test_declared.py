"""What is exported is what exposures declare: the project's, and a home's own beside them."""

from datetime import date, datetime

import openpyxl
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.dbt_process import RESULTS_NAME
from flows.dbt_project import find_project_directory
from flows.exports import exposures
from flows.exports.declared import find_period, read_declared
from flows.exports.exporting import export_all
from flows.problems import ActionableError
from tests.published_database import Bounce, make_published

pytestmark = pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning:openpyxl")


def declare(home, *listed: dict) -> None:
    (home.root / "exposures.yml").write_text(yaml.safe_dump({"version": 2, "exposures": list(listed)}))


def make_exposure(name="mine", **export: object) -> dict:
    return {
        "name": name,
        "type": "analysis",
        "owner": {"name": "eve"},
        "config": {"meta": {"export": {"report": "bounces", **export}}},
    }


def test_the_projects_exposures_are_read_from_dbts_manifest(home):
    """As the YAML has them: which is not asked by the product, that knows what dbt says only."""
    stand_in = yaml.safe_load((find_project_directory() / "models" / "exposures.yml").read_text())["exposures"]
    declared = {each.name: each for each in read_declared(home)}
    assert sorted(declared) == sorted(each["name"] for each in stand_in)
    for each in stand_in:
        found = declared[each["name"]]
        assert (found.label, found.owner, found.file) == (each["label"], each["owner"]["name"], "models/exposures.yml")
        assert list(found.settings.formats) == each["config"]["meta"]["export"]["formats"]


def test_dbt_is_asked_again_when_the_yaml_has_changed_and_not_otherwise(home, monkeypatch):
    monkeypatch.setattr(exposures, "parse_project", lambda settings: {"exposures": [{"name": "asked"}]})
    assert [each["name"] for each in exposures.read_exposures(home)] == ["bounces", "suppression_list", "undeliveries"]
    monkeypatch.setattr(exposures, "find_version", lambda: "another")
    assert exposures.read_exposures(home) == [{"name": "asked"}]
    (home.dbt_target / RESULTS_NAME).write_text('{"exposures_version": "another", "exposures": [{"name": "built"}]}')
    assert exposures.read_exposures(home) == [{"name": "built"}]
    (home.dbt_target / RESULTS_NAME).write_text('{"error": "dbt gave up", "results": []}')
    assert exposures.read_exposures(home) == [{"name": "asked"}]


@pytest.mark.xdist_group("warehouse")
def test_a_build_hands_the_exposures_over(warehouse, monkeypatch):
    monkeypatch.setattr(exposures, "parse_project", None)
    assert [each.name for each in read_declared(warehouse.settings)] == ["bounces", "suppression_list", "undeliveries"]


def test_a_weekly_report_of_one_campaign_by_ip_as_a_workbook(home):
    """The issue's example: an exposure is all that it takes."""
    facts = [
        Bounce(datetime(2026, 3, day), campaign_id=campaign, sending_ip="192.0.2.9")
        for day, campaign in [(22, "spring"), (23, "spring"), (29, "spring"), (29, "autumn"), (30, "spring")]
    ]
    make_published(home.published_database, facts)  # data through Tuesday, 31 March
    declare(
        home,
        make_exposure("spring_weekly", campaign="spring", group_by="sending_ip", schedule="weekly", formats=["xlsx"]),
    )
    # its copy is of Sunday: older than copies are kept for, and yet the newest
    export_all(home.model_copy(update={"dated_exports_days": 1}))
    book = openpyxl.load_workbook(home.exports / "spring_weekly.xlsx")
    assert book.sheetnames == ["Bounces by sending IP", "Charts", "Chart data", "Info"]
    rows = list(book.worksheets[0].iter_rows(2, values_only=True))
    assert [(row[0], row[6]) for row in rows] == [("192.0.2.9", 2)]
    info = {row[0].value: row[1].value for row in book["Info"]}
    assert (info["First day"], info["Last day"]) == (datetime(2026, 3, 23), datetime(2026, 3, 29))
    assert info["Campaign"] == "spring"
    assert (home.exports / "dated" / "2026-03-29" / "spring_weekly.xlsx").exists()


def test_a_home_changes_and_disables_the_projects(home):
    declare(home, make_exposure("bounces", **{"class": "all"}), {"name": "undeliveries", "config": {"enabled": False}})
    names = {path.name for path in export_all(home)}
    assert {"bounces.csv", "bounces.xlsx", "bounces.parquet"} <= names
    assert not [name for name in names if name.startswith(("undeliveries", "bounces_by"))]
    assert sum(pq.read_table(home.exports / "bounces.parquet").column("amount").to_pylist()) == 7


def test_a_machines_csv_has_exact_text(home):
    declare(home, make_exposure("exact", formats="csv", excel_safe=False), make_exposure("safe", formats="csv"))
    export_all(home)
    assert b"\r\n=1+1," in (home.exports / "exact.csv").read_bytes()
    assert b"\r\n'=1+1," in (home.exports / "safe.csv").read_bytes()


def test_a_time_zone_has_days_of_its_own(home):
    make_published(
        home.published_database, [Bounce(datetime(2026, 3, 4, 23, 30))], data_through_at=datetime(2026, 3, 4, 23, 45)
    )
    declare(home, make_exposure("berlin", formats="parquet", time_zone="Europe/Berlin", days=1))
    export_all(home)
    assert pq.read_table(home.exports / "berlin.parquet").column("amount").to_pylist() == [1]
    assert (home.exports / "dated" / "2026-03-05" / "berlin.parquet").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"config": {"meta": {"export": {"report": "bounces", "gruop_by": "x"}}}}, "unknown key gruop_by"),
        ({"config": {"meta": {"export": {"report": "weather"}}}}, "report: Input should be 'bounces'"),
        ({"config": {"meta": {"export": {"report": "bounces", "formats": "pdf"}}}}, "formats.0"),
        ({"config": {"meta": {"export": {"report": "bounces", "formats": ["csv", "csv"]}}}}, "names something twice"),
        ({"config": {"meta": {"export": {"report": "bounces", "days": 0}}}}, "days"),
        ({"config": {"meta": {"export": {"report": "bounces", "schedule": "hourly"}}}}, "schedule"),
        ({"config": {"meta": {"export": {"report": "bounces", "time_zone": "Middle/Earth"}}}}, "Middle/Earth"),
        ({"config": {"meta": {"export": {"report": "suppression_list", "days": 3}}}}, "has no days"),
        ({"config": {"meta": {"export": {"report": "bounces", "workbook_rows": 9}}}}, "workbook_rows goes with"),
        ({"config": {"meta": {"export": {"report": "bounces", "destinations": "landing"}}}}, "lies in the home"),
        ({"config": {"meta": {"export": {"report": "bounces", "formats": "html", "campaign": "x"}}}}, "html goes with"),
        ({"config": {"meta": {"export": {"report": "undeliveries", "formats": ["html"]}}}}, "html goes with"),
        ({"config": {"meta": {"export": "bounces"}}}, "export:"),
        ({"config": {"meta": {}}}, "has nothing under config: meta: export:"),
        ({"config": ["meta"]}, "`config` and `owner`"),
        ({"owner": {}}, "has no owner"),
        ({"name": "../../etc/passwd"}, "letters, digits and _"),
        ({"name": 7}, "letters, digits and _"),
        ({"name": "bounces_by_from_domain", "config": {"meta": {"export": {"report": "bounces", "formats": "csv"}}}},
         "writes bounces_by_from_domain.csv, which bounces writes too"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_by_file_and_exposure(home, change, says):
    declare(home, {**make_exposure(), **change})
    with pytest.raises(ActionableError) as caught:
        read_declared(home)
    assert str(home.root / "exposures.yml") in caught.value.cause or "models/exposures.yml" in caught.value.cause
    assert says in caught.value.cause
    assert "docs/exports.md" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [("exposures: {a: b}", "no list"), ("- a", "no list"), ("exposures: [a]", "no list"), ("exposures: [", "cannot be read"),
     ("models: []", "unknown key models"), ("exposures: [{name: x}, {name: x}]", "nothing under")],
)  # fmt: skip
def test_a_file_of_another_form_is_told(home, text, says):
    (home.root / "exposures.yml").write_text(text)
    with pytest.raises(ActionableError, match=says):
        read_declared(home)


def test_a_name_that_is_there_twice_is_told(home):
    declare(home, make_exposure(), make_exposure())
    with pytest.raises(ActionableError, match="is there twice"):
        read_declared(home)


def test_an_empty_file_declares_nothing(home):
    (home.root / "exposures.yml").write_text("# nothing yet\n")
    assert len(read_declared(home)) == 3


@pytest.mark.parametrize(
    ("schedule", "days", "newest", "published", "period"),
    [
        ("daily", 30, "2026-03-31", "2026-03-31", ("2026-03-02", "2026-03-31")),
        # Monday morning, with data through Sunday's last minute, or this morning's
        ("weekly", None, "2026-03-08", "2026-03-09", ("2026-03-02", "2026-03-08")),
        ("weekly", None, "2026-03-09", "2026-03-09", ("2026-03-02", "2026-03-08")),
        # Sunday is not over yet
        ("weekly", None, "2026-03-08", "2026-03-08", ("2026-02-23", "2026-03-01")),
        # the data end on a Wednesday, whenever that is published
        ("weekly", None, "2026-03-11", "2026-05-01", ("2026-03-02", "2026-03-08")),
        ("weekly", 28, "2026-03-09", "2026-03-09", ("2026-02-09", "2026-03-08")),
        ("monthly", None, "2026-03-31", "2026-04-01", ("2026-03-01", "2026-03-31")),
        ("monthly", None, "2026-03-31", "2026-03-31", ("2026-02-01", "2026-02-28")),
        ("monthly", None, "2024-03-15", "2024-03-15", ("2024-02-01", "2024-02-29")),
    ],
)
def test_a_period_is_the_last_that_was_over(schedule, days, newest, published, period):
    found = find_period(schedule, days, date.fromisoformat(newest), date.fromisoformat(published))
    assert tuple(map(str, found)) == period


@given(newest=st.dates(date(2000, 1, 1), date(2100, 1, 1)), days=st.integers(0, 40))
def test_weeks_and_months_follow_each_other_without_a_gap(newest, days):
    published = date.fromordinal(newest.toordinal() + days)
    first, last = find_period("weekly", None, newest, published)
    assert (first.weekday(), last.weekday(), (last - first).days) == (0, 6, 6)
    assert last <= newest
    assert last < published
    first, last = find_period("monthly", None, newest, published)
    assert (first.day, first.month) == (1, last.month)
    assert date.fromordinal(last.toordinal() + 1).day == 1
    assert last <= newest
    assert last < published
