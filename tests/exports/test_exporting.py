"""All that is exported: stable names, one content in every format, the manifest, dated copies, destinations."""

import csv
import io
import os
import signal
import stat
import subprocess
import sys
from datetime import date, datetime, timedelta

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.erasure.erase import rewrite_copies
from flows.erasure.patterns import Target
from flows.erasure.places import find_places
from flows.exports import dated, exporting
from flows.exports.contents import Export, write_export
from flows.exports.exporting import export_all
from flows.exports.files import replace_file
from flows.exports.written import NOTE_NAME, find_written
from flows.failpoints import VARIABLE
from flows.problems import ActionableError, CannotWriteError
from flows.settings import Settings
from tests.exports.hostile import read_csv
from tests.exports.manifests import check_manifest, read_files, read_manifest
from tests.published_database import Bounce, Suppressed, make_published

NAMES = [
    "bounces.html", "bounces.xlsx", "bounces_by_from_domain.csv", "bounces_by_from_domain.parquet", "bounces_by_sending_ip.csv",
    "bounces_by_sending_ip.parquet", "manifest.json", "suppression_list.csv", "suppression_list.parquet",
    "suppression_list.xlsx", "undeliveries.xlsx", "undeliveries_by_from_domain.csv", "undeliveries_by_from_domain.parquet",
    "undeliveries_by_sending_ip.csv", "undeliveries_by_sending_ip.parquet",
]  # fmt: skip
DAY = "2026-03-31"

pytestmark = pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning:openpyxl")


def declare(home: Settings, text: str) -> None:
    (home.root / "exposures.yml").write_text(text)


def test_files_stand_at_stable_names_and_agree_in_all_formats(home):
    paths = export_all(home)
    assert sorted(path.name for path in paths) == NAMES
    assert sorted(path.name for path in home.exports.iterdir()) == sorted([*NAMES, "dated"])
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    for subject, total in {"bounces": 6, "undeliveries": 2}.items():
        book = openpyxl.load_workbook(home.exports / f"{subject}.xlsx")
        for grouping, sheet in zip(("from_domain", "sending_ip"), book.worksheets, strict=False):
            rows = pq.read_table(home.exports / f"{subject}_by_{grouping}.parquet").to_pylist()
            header, *cells = read_csv((home.exports / f"{subject}_by_{grouping}.csv").read_bytes())
            assert header == list(rows[0]) == [cell.value for cell in sheet[1]]
            assert len(rows) == len(cells) == sheet.max_row - 1
            column = header.index("amount")
            assert sum(row["amount"] for row in rows) == total
            assert sum(int(row[column]) for row in cells) == total
            assert sum(row[column] for row in sheet.iter_rows(2, values_only=True)) == total


def test_the_suppression_list_is_exact_in_its_addresses_and_safe_elsewhere(home):
    export_all(home)
    content = (home.exports / "suppression_list.csv").read_bytes()
    assert content.startswith(b"address,")
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["address"] for row in rows] == ["=ann@mail.example", "bob@mail.example"]
    assert rows[0]["bounce_text"] == "'=550 gone"
    sheet = openpyxl.load_workbook(home.exports / "suppression_list.xlsx").worksheets[0]
    assert (sheet["A2"].value, sheet["A2"].data_type) == ("=ann@mail.example", "s")


def test_the_manifest_tells_what_each_file_is(home):
    export_all(home)
    check_manifest(home.exports)
    manifest = read_manifest(home.exports)
    assert manifest["data_through_at_utc"] == "2026-03-31T23:59:00Z"
    assert manifest["made_at_utc"] == "2026-04-01T06:00:00Z"
    assert manifest["rule_set_version"] == "abc123"
    described = manifest["files"]["bounces_by_sending_ip.csv"]
    assert (described["first_day"], described["last_day"]) == ("2026-03-02", DAY)
    assert (described["class"], described["group_by"], described["amount"]) == ("soft", "sending_ip", 6)
    assert (described["exposure"], described["format"], described["rows"]) == ("bounces", "csv", 1)
    assert described["columns"]["amount"] == "int64"
    assert len(manifest["files"]) == len(NAMES) - 1


def test_the_same_data_gives_the_same_bytes(home):
    export_all(home)
    first = read_files(home.exports)
    export_all(home)
    assert read_files(home.exports) == first


def test_what_is_no_longer_declared_goes_and_what_is_not_ours_stays(home):
    export_all(home)
    (home.exports / "mine.csv").write_text("mine")
    declare(home, "exposures: [{name: undeliveries, config: {enabled: false}}]")
    export_all(home)
    left = sorted(path.name for path in home.exports.iterdir() if path.is_file())
    assert left == sorted(["mine.csv", *(name for name in NAMES if not name.startswith("undeliveries"))])


def test_an_error_leaves_all_the_old_files(home, monkeypatch):
    export_all(home)
    before = read_files(home.exports)
    make_published(home.published_database, [Bounce(datetime(2026, 3, 6))])

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    real = exporting.write_content
    written = []
    monkeypatch.setattr(
        exporting, "write_content", lambda *each: fail() if len(written) == 5 else written.append(real(*each))
    )
    with pytest.raises(CannotWriteError, match="No space left"):
        export_all(home)
    assert len(written) == 5
    assert read_files(home.exports) == before
    assert not list(home.exports.glob(".*"))


EXPORT = "import sys; from pathlib import Path; from flows.settings import Settings; from flows.exports.exporting import export_all; export_all(Settings(home=Path(sys.argv[1])))"


@pytest.mark.parametrize(
    "place", ["export.written:3", "export.staged", "export.renamed:4", "export.renamed:15", "export.copied:2"]
)
def test_a_killed_export_leaves_whole_files_and_the_next_ends_it(home, place):
    export_all(home)
    before = read_files(home.exports)
    make_published(home.published_database, [Bounce(datetime(2026, 3, 6), from_domain="new.example")] * 5)
    ran = subprocess.run([sys.executable, "-c", EXPORT, home.root], env={**os.environ, VARIABLE: place}, check=False)
    assert ran.returncode == -signal.SIGKILL
    left = read_files(home.exports)
    export_all(home)
    after = read_files(home.exports)
    assert {name for name, content in left.items() if content not in (before[name], after[name])} == set()
    if place in ("export.written:3", "export.staged"):
        assert left == before  # nothing has been renamed before all is written
    assert (
        left["manifest.json"]
        == (after if place == "export.copied:2" else before if place != "export.renamed:15" else after)["manifest.json"]
    )
    check_manifest(home.exports)
    check_manifest(home.exports / "dated" / DAY)
    assert not list(home.exports.rglob(".*"))


def test_dated_copies_are_links_with_a_manifest_and_stay(home):
    export_all(home)
    folder = home.exports / "dated" / DAY
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    check_manifest(folder)
    assert (folder / "bounces.xlsx").samefile(home.exports / "bounces.xlsx")
    old = read_files(folder)
    through = datetime(2026, 4, 1, 23)
    make_published(home.published_database, [Bounce(datetime(2026, 4, 1))], data_through_at=through)
    export_all(home)
    assert read_files(folder) == old
    assert not (folder / "bounces.xlsx").samefile(home.exports / "bounces.xlsx")
    assert sorted(path.name for path in (home.exports / "dated").iterdir()) == [DAY, "2026-04-01"]


def test_a_later_run_of_the_day_replaces_its_copies(home):
    export_all(home)
    make_published(home.published_database, [Bounce(datetime(2026, 3, 31))])
    export_all(home)
    folder = home.exports / "dated" / DAY
    check_manifest(folder)
    assert read_files(folder) == read_files(home.exports)


def test_without_links_copies_are_copies(home, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    export_all(home)
    folder = home.exports / "dated" / DAY
    assert not (folder / "bounces.xlsx").samefile(home.exports / "bounces.xlsx")
    assert read_files(folder) == read_files(home.exports)


@pytest.mark.parametrize(("kept", "days"), [(3, ["2026-03-29", "2026-03-30", DAY]), (1, [DAY]), (0, [])])
def test_copies_are_kept_for_so_many_days(home, kept, days):
    other = home.exports / "dated" / "somebody's"
    other.mkdir(parents=True)
    for day in range(27, 32):
        through = datetime(2026, 3, day, 12)
        make_published(home.published_database, [Bounce(datetime(2026, 3, 5))], data_through_at=through)
        export_all(Settings(home=home.root, dated_exports_days=14))
    assert len(list(other.parent.iterdir())) == 6
    export_all(Settings(home=home.root, dated_exports_days=kept))
    assert sorted(path.name for path in other.parent.iterdir() if path != other) == days


def test_copies_go_with_the_messages_that_retention_drops(home):
    """Copies of reports on days that are dropped hold original replies of them."""
    today = date.today()
    newest = datetime.combine(today, datetime.min.time())
    for back in (10, 0):
        make_published(home.published_database, [], data_through_at=newest - timedelta(days=back))
        export_all(Settings(home=home.root, report_days=30, dated_exports_days=30))
    folder = home.exports / "dated"
    assert len(list(folder.iterdir())) == 2
    export_all(Settings(home=home.root, report_days=30, dated_exports_days=30, retention_days=39))
    assert len(list(folder.iterdir())) == 2
    export_all(Settings(home=home.root, report_days=30, dated_exports_days=30, retention_days=38))
    assert [path.name for path in folder.iterdir()] == [today.isoformat()]


def test_an_erasure_reaches_what_is_packed_in_a_page_and_copies_of_all_kinds(home):
    reply = "451 <bob@mail.example> is over quota"
    make_published(
        home.published_database,
        [Bounce(datetime(2026, 3, 5), bounce_text="451 <EMAIL> is over quota")],
        suppressed=[Suppressed("bob@mail.example")],
        samples={"451 <EMAIL> is over quota": reply},
    )
    export_all(home)
    folder = home.exports / "dated" / DAY
    targets = [Target("bob@mail.example", f"erased-{'0f' * 16}@mail.example")]
    named = {place.path for place in find_places(home, targets)}
    told = {path.name for path in named if path.parent == folder}
    assert told == set(NAMES) - {"manifest.json"} - {name for name in NAMES if name.startswith("undeliveries")}
    assert b"bob@mail.example" not in (folder / "bounces.html").read_bytes()  # as it lies
    rewrite_copies(home, named, targets)
    check_manifest(folder)
    assert {place.path.parent for place in find_places(home, targets)} == {home.exports, home.root}
    left = {path.name for path in folder.iterdir()}
    assert told - left == {"bounces.html", "bounces.xlsx", "suppression_list.xlsx"}
    assert b"erased-" in (folder / "suppression_list.csv").read_bytes()
    assert (home.exports / "suppression_list.csv").read_bytes().count(b"bob@mail.example") == 1


def test_a_manifest_of_copies_tells_what_is_left(home):
    export_all(home)
    folder = home.exports / "dated" / DAY
    (folder / "bounces.xlsx").unlink()
    (folder / "suppression_list.csv").unlink()
    (folder / "suppression_list.csv").write_text("address\n")
    dated.mend_manifests(home)
    check_manifest(folder)
    assert "bounces.xlsx" not in read_manifest(folder)["files"]
    for path in folder.iterdir():
        if path.name != "manifest.json":
            path.unlink()
    dated.mend_manifests(home)
    assert not folder.exists()


OWN = """
exposures:
  - name: spring
    type: analysis
    owner: {{name: marketing}}
    config: {{meta: {{export: {{report: bounces, campaign: spring, formats: csv, destinations: {folder}}}}}}}
"""


def test_a_long_list_gets_no_workbook_and_the_manifest_says_so(home, tmp_path):
    """The workbook of before goes, and a destination gets what there is."""
    export_all(home)
    assert (home.exports / "suppression_list.xlsx").exists()
    declare(
        home,
        f"""
exposures:
  - name: suppression_list
    owner: {{name: me}}
    config: {{meta: {{export: {{report: suppression_list, workbook_rows: 1, destinations: {tmp_path / "out"}}}}}}}
""",
    )
    (tmp_path / "out").mkdir()
    export_all(home)
    assert not (home.exports / "suppression_list.xlsx").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "suppression_list.csv",
        "suppression_list.parquet",
    ]
    files = read_manifest(home.exports)["files"]
    assert "suppression_list.xlsx" not in files
    for name in ("suppression_list.csv", "suppression_list.parquet"):
        assert files[name]["left_out"]["suppression_list.xlsx"].startswith("2 rows, more than workbook_rows 1")


def test_destinations_get_the_file_too(home, tmp_path):
    declare(home, OWN.format(folder=tmp_path / "elsewhere"))
    export_all(home)
    assert read_files(tmp_path / "elsewhere") == {"spring.csv": (home.exports / "spring.csv").read_bytes()}


def test_what_is_written_stays_until_something_differs(home, tmp_path):
    declare(home, OWN.format(folder=tmp_path / "elsewhere"))
    assert find_written(home) is None
    paths = export_all(home)
    assert find_written(home) == paths
    differing = [
        (home.exports / "bounces.html").unlink,
        lambda: (home.exports / "suppression_list.csv").write_bytes(b"cut"),
        (home.exports / "dated" / DAY / "bounces.xlsx").unlink,
        (home.exports / "manifest.json").touch,
        (tmp_path / "elsewhere" / "spring.csv").unlink,
        home.published_database.touch,
        lambda: declare(home, OWN.format(folder=tmp_path / "nowhere")),
    ]
    for change in differing:
        change()
        assert find_written(home) is None
        assert export_all(home) == paths
        assert find_written(home) == paths
    assert find_written(home.model_copy(update={"report_days": home.report_days + 1})) is None
    (home.state / NOTE_NAME).write_text("[]")
    assert find_written(home) is None


def test_a_destination_that_takes_nothing_is_told_when_all_else_is_done(home, tmp_path):
    (tmp_path / "file").write_text("in the way")
    declare(home, OWN.format(folder=tmp_path / "file"))
    with pytest.raises(CannotWriteError, match=r"exposure spring: cannot write to the folder .*file"):
        export_all(home)
    check_manifest(home.exports)
    check_manifest(home.exports / "dated" / DAY)


def test_a_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replace_file(target) as temporary:
        temporary.write_text("half of the new")
        1 / 0  # noqa: B018
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    export = Export("X", pa.table({"a": [1]}), {"rows": 1})
    with pytest.raises(ActionableError, match=r"cannot write to the folder .*file"):
        write_export(export, tmp_path / "file" / "x.csv", "csv")
