"""`suppression check`: every record of a mailing list ends in one of three files, unchanged."""

import csv
import io
import tempfile
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.dbt_macros import read_macros
from flows.erasure.pseudonyms import prepare
from flows.problems import ActionableError, WrongUsageError
from flows.settings import Settings
from flows.suppression.actions import check_address, find_problem, write_action
from flows.suppression.check import check
from flows.suppression.current import normal_address, register_functions
from flows.suppression.list_files import ReadOptions
from tests.suppression.published_lists import Fact, decided, publish

ANN = Fact("ann@mail.example")
WES = Fact("wes@wish.example", list_name="global", cause="unsubscribe", why="unsubscribed", reply=None, reason=None)


def divided(home: Settings, content: bytes, *, name: str = "list.csv", **options) -> tuple[bytes, bytes, bytes]:
    """What the three files hold."""
    path = home.root / name
    path.write_bytes(content)
    result = check(home, path, options=ReadOptions(**options))
    assert result.allowed + result.suppressed + result.invalid == result.records
    return tuple(result.paths[kind].read_bytes() for kind in ("allowed", "suppressed", "invalid"))


def test_each_record_is_kept_as_it_was_and_told_why_it_may_not_be_mailed(home):
    content = (
        b"\xef\xbb\xbfid;E-Mail;note\r\n"
        b"1;ANN@Mail.Example ;007\r\n"  # suppressed, whatever its case
        b'2;"Bob, the ""boss""" <bob@mail.example>; two  spaces \r\n'
        b"\r\n"  # no record
        b'3;wes@wish.example;"two\r\nlines; and ""quotes"""\r\n'
        b"4;nobody;=1+1\r\n"
        b'5;eve@mail.example;12" disc'
    )
    allowed, suppressed, invalid = divided(home(ANN, WES), content)
    assert allowed == (
        b"\xef\xbb\xbfid;E-Mail;note\r\n"
        b'2;"Bob, the ""boss""" <bob@mail.example>; two  spaces \r\n'
        b'5;eve@mail.example;12" disc\n'
    )
    assert suppressed == (
        b"\xef\xbb\xbfid;E-Mail;note;suppressed_by;suppressed_since;suppressed_reason\r\n"
        b"1;ANN@Mail.Example ;007;suppression;2026-03-03 04:05:06;user_unknown\r\n"
        b'3;wes@wish.example;"two\r\nlines; and ""quotes""";global;2026-03-03 04:05:06;unsubscribe\r\n'
    )
    assert invalid == b"\xef\xbb\xbfid;E-Mail;note;problem\r\n4;nobody;=1+1;no @\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_and_encoding_is_found_out_and_kept(home, encoding, delimiter):
    rows = [["Nom", "Courriel"], ["Zoë", "ann@mail.example"], ["José", "jose@mail.example"]]
    content = "".join(delimiter.join(row) + "\r\n" for row in rows).encode(encoding)
    allowed, suppressed, invalid = divided(home(ANN), content)
    assert allowed == "".join(delimiter.join(row) + "\r\n" for row in [rows[0], rows[2]]).encode(encoding)
    assert "Zoë" in suppressed.decode(encoding)
    assert "José" not in suppressed.decode(encoding) + invalid.decode(encoding)


def test_plain_lines_need_no_header_and_may_hold_names(home):
    content = b"ann@mail.example\nBob <bob@mail.example>\n\n  eve@mail.example \nAnn <ANN@mail.example>\nx\n"
    allowed, suppressed, invalid = divided(home(ANN), content, name="list.txt")
    assert allowed == b"Bob <bob@mail.example>\n  eve@mail.example \n"
    assert suppressed.splitlines() == [
        b"ann@mail.example,suppression,2026-03-03 04:05:06,user_unknown",
        b"Ann <ANN@mail.example>,suppression,2026-03-03 04:05:06,user_unknown",
    ]
    assert invalid == b"x,no @\n"


def test_line_ends_of_windows_are_no_part_of_the_last_column(home):
    content = b'"name","email"\r\n"Ann","ann@mail.example"\r\nAnn,ann@mail.example\r\nBob,bob@mail.example\r\n'
    allowed, suppressed, _ = divided(home(ANN), content)
    assert allowed == b'"name","email"\r\nBob,bob@mail.example\r\n'
    assert suppressed.count(b"\r\n") == 3
    allowed, suppressed, _ = divided(home(ANN), b"ann@mail.example\r\nbob@mail.example\r\n")
    assert (allowed, suppressed.count(b"\r\n")) == (b"bob@mail.example\r\n", 1)


def test_an_old_macintosh_file_keeps_its_line_ends(home):
    allowed, suppressed, _ = divided(home(ANN), b"email\rann@mail.example\rbob@mail.example\r")
    assert (allowed, suppressed.count(b"\r"), suppressed.count(b"\n")) == (b"email\rbob@mail.example\r", 2, 0)


def test_international_domains_are_compared_as_dns_knows_them(home):
    allowed, suppressed, _ = divided(
        home(Fact("eva@xn--bcher-kva.example")), "email\nEva@BÜCHER.example\neva@bucher.example\n".encode()
    )
    assert allowed == b"email\neva@bucher.example\n"
    assert "Eva@BÜCHER.example" in suppressed.decode()


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "no address"),
        ("ann", "no @"),
        ("a@b@mail.example", "more than one @"),
        ("@mail.example", "nothing before or after the @"),
        ("ann@", "nothing before or after the @"),
        (f"{'a' * 400}@mail.example", "longer than 254 characters"),
        ("a b@mail.example", "a space or a control character in it"),
        ('"ann@mail.example\r\nBcc: all@mail.example"', "more than one @"),
        ('"ann@mail.example\r\nX-Evil: 1"', "a space or a control character in it"),
        ("ann@mail.example\x1b[31m", "a space or a control character in it"),
        ("ann\u202e@mail.example", "a space or a control character in it"),
    ],
)
def test_what_is_no_address_is_told_apart_and_never_allowed(home, address, problem):
    allowed, suppressed, invalid = divided(home(ANN), f"id,email\n1,{address}\n2,bob@mail.example\n".encode())
    assert allowed == b"id,email\n2,bob@mail.example\n"
    assert suppressed.count(b"\n") == 1
    assert invalid.decode() == f"id,email,problem\n1,{address},{problem}\n"


def test_a_record_without_the_column_is_invalid_and_one_with_more_columns_is_kept(home):
    content = b"id,email\n1\n2,bob@mail.example,more,and more\n3,ann@mail.example\n"
    allowed, suppressed, invalid = divided(home(ANN), content)
    assert (allowed, invalid) == (b"id,email\n2,bob@mail.example,more,and more\n", b"id,email,problem\n1,no address\n")
    assert suppressed.count(b"\n") == 2


def test_both_lists_are_told_and_one_can_be_asked_alone(home):
    both = Fact(
        "ann@mail.example", datetime(2026, 1, 1), list_name="global", cause="complaint", reply=None, reason=None
    )
    here = home(ANN, both)
    _, suppressed, _ = divided(here, b"email\nann@mail.example\n")
    assert b"ann@mail.example,suppression+global,2026-01-01 00:00:00,user_unknown+complaint\n" in suppressed
    path = here.root / "list.csv"
    path.write_bytes(b"email\nann@mail.example\nwes@wish.example\n")
    write_action(here, "remove", "ann@mail.example", by="eve", reason="mailbox is back")
    assert check(here, path).by_list == {"global": 1}
    assert check(here, path, which="suppression").allowed == 2


def test_the_order_of_a_large_list_is_kept(home):
    here = home(*(Fact(f"user{number}@mail.example") for number in range(0, 300, 3)))
    path = here.root / "large.csv"
    with path.open("w") as file:
        file.write("email,filler\n")
        file.writelines(f"user{number}@mail.example,{'x' * 90}{number}\n" for number in range(200_000))
    result = check(here, path)
    assert (result.records, result.suppressed) == (200_000, 100)
    expected = [number for number in range(200_000) if number % 3 or number >= 300]
    for kind, numbers in (("allowed", expected), ("suppressed", range(0, 300, 3))):
        with result.paths[kind].open(newline="") as file:
            assert [row["email"] for row in csv.DictReader(file)] == [
                f"user{number}@mail.example" for number in numbers
            ]


def test_files_are_for_their_owner_only(home):
    here = home(ANN)
    path = here.root / "list.csv"
    path.write_bytes(b"email\nann@mail.example\n")
    for target in check(here, path).paths.values():
        assert target.stat().st_mode & 0o777 == 0o600


def test_a_column_or_its_number_can_be_named(home):
    content = b"a@b.example,ann@mail.example\nc@d.example,bob@mail.example\n"
    with pytest.raises(WrongUsageError, match="--column 1 to --column 2"):
        divided(home(ANN), content)
    allowed, _, _ = divided(home(ANN), content, column="2")
    assert allowed == b"c@d.example,bob@mail.example\n"
    content = b"Kontakt;Ort\nann@mail.example;Berlin\n"
    with pytest.raises(WrongUsageError, match="'Kontakt', 'Ort'"):
        divided(home(ANN), content)
    allowed, _, _ = divided(home(ANN), content, column="kontakt")
    assert allowed == b"Kontakt;Ort\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\x1f\x8brest", "compressed"),
        (b'id,email\n1,"ann@mail.example\n2,bob@mail.example\n', "line 2 is never closed"),
    ],
)
def test_what_is_no_list_is_refused_and_nothing_is_written(home, content, says):
    here = home(ANN)
    with pytest.raises(ActionableError, match=says):
        divided(here, content)
    assert not list(here.root.glob("list.*.csv"))


def test_unreadable_and_missing_files_are_named(home, tmp_path):
    here = home(ANN)
    with pytest.raises(ActionableError, match=r"no\.csv"):
        check(here, tmp_path / "no.csv")
    with pytest.raises(ActionableError, match="cannot read"):
        check(here, tmp_path)
    (tmp_path / "list.csv").write_bytes(b"email\nann@mail.example\n")
    with pytest.raises(WrongUsageError, match="'klingon'"):
        check(here, tmp_path / "list.csv", options=ReadOptions(encoding="klingon"))
    with pytest.raises(WrongUsageError, match="itself"):
        check(here, tmp_path / "list.csv", targets={"allowed": tmp_path / "list.csv"})
    with pytest.raises(WrongUsageError, match="twice"):
        check(here, tmp_path / "list.csv", targets={"allowed": tmp_path / "x", "invalid": tmp_path / "x"})
    with pytest.raises(ActionableError, match="nothing is published yet"):
        check(Settings(home=tmp_path / "new"), tmp_path / "list.csv")


def test_text_that_is_sql_or_a_path_is_only_text(home, tmp_path):
    name = "it's; drop table x--[a].csv"
    content = b"email\n'; drop table records; --@mail.example\nann@mail.example\n"
    allowed, suppressed, invalid = divided(home(ANN), content, name=name)
    assert allowed == b"email\n"
    assert b"drop table" in invalid
    assert b"ann@" in suppressed


PIECES = st.one_of(
    st.sampled_from(
        ["ann@mail.example", "ANN@MAIL.example", "bob@mail.example", "x", "", " ", '"', '""', "a@b@c", "=1"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)


@pytest.fixture(scope="module")
def engine():
    with duckdb.connect() as connection:
        register_functions(connection)
        prepare(connection, None)
        yield connection


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    here = Settings(home=tmp_path_factory.mktemp("shared"), memory_limit="1GB")
    publish(here.published_database, [ANN])
    return here


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(PIECES, PIECES, PIECES), min_size=1, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=[("a\nb", "ann@mail.example", '"')], delimiter=",", line_end="\n")
def test_allowed_suppressed_and_invalid_are_the_input(shared, engine, rows, delimiter, line_end):
    """Whatever is in the fields: each record, byte for byte, is in one of the files, in its order."""
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["id", "email", "note"])
    records = []
    for number, (name, address, note) in enumerate(rows):
        start = target.tell()
        writer.writerow([f"{number}{name}", address, note])
        records.append(target.getvalue()[start:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_bytes(target.getvalue().encode())
        result = check(shared, path, options=ReadOptions(delimiter=delimiter, has_header=True, column="email"))
        files = {kind: result.paths[kind].read_bytes().decode() for kind in result.paths}
    expected = {"allowed": "", "suppressed": "", "invalid": ""}
    for record, (_, address, _) in zip(records, rows, strict=True):
        bare = address.strip(" ").lower()
        problem = problem_of(engine, address)
        kind = "invalid" if problem else "suppressed" if bare == "ann@mail.example" else "allowed"
        added = {"allowed": "", "suppressed": delimiter.join(["", "suppression", "2026-03-03 04:05:06", "user_unknown"]),
                 "invalid": f"{delimiter}{problem}"}[kind]  # fmt: skip
        expected[kind] += record.removesuffix(line_end) + added + line_end
    for kind, content in expected.items():
        assert files[kind].split(line_end, 1)[1] == content
    assert [result.records, result.allowed + result.suppressed + result.invalid] == [len(rows), len(rows)]


def problem_of(engine: duckdb.DuckDBPyConnection, address: str) -> str | None:
    found = engine.execute(
        f"select {find_problem('address')} from (select {normal_address('written')} as address"
        " from (select $1::varchar as written))",
        [address],
    ).fetchone()
    return found[0]


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
    | st.from_regex(r"[a-z ]{0,3}@?[a-z. ]{0,4}@?")
)
@example("a@b\x1c")
@example("\x85a@b")
@example("a@b\n")
def test_the_engine_and_the_command_line_agree_on_what_an_address_is(engine, text):
    try:
        check_address(text)
    except WrongUsageError:
        is_address = False
    else:
        is_address = True
    (problem,) = engine.execute(f"select {find_problem('$a::varchar')}", {"a": text.strip()}).fetchone()
    assert is_address == (problem is None)


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    | st.from_regex(r"[ -~]{1,8}@[ -~]{1,8}")
)
def test_the_short_way_to_the_normal_form_is_the_way_of_the_models(engine, text):
    short, long = engine.execute(
        f"select {normal_address('written')}, {read_macros().normal_address('written')} from (select $1::varchar as written)",
        [text],
    ).fetchone()
    assert short == long


def test_decisions_of_administrators_count(home):
    here = home(
        ANN,
        decided("ann@mail.example", datetime(2026, 3, 9), is_removal=True),
        decided("eve@x.example", datetime(2026, 3, 9)),
    )
    _, suppressed, _ = divided(here, b"email\nann@mail.example\neve@x.example\n")
    assert suppressed.splitlines()[1:] == [b"eve@x.example,suppression,2026-03-09 00:00:00,administrator"]
