"""Erasure: what names an address is found in every form and file, gives way to a pseudonym, and nothing else moves."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as settings_of_tests
from hypothesis import strategies as st

from flows import landing
from flows.addresses import normal_form, register
from flows.dbt_macros import read_macros
from flows.erasure.erase import erase, find_everywhere, remove_private_databases
from flows.erasure.late import search
from flows.erasure.patterns import Target, find_rows, holds, replace_in_batch, replace_in_bytes
from flows.erasure.pseudonyms import KEY_NAME, Pseudonyms, make_pseudonyms, prepare, read_pseudonyms, record_erasures
from flows.erasure.rewrite import rewrite_file, rewrite_landed
from flows.exports.exporting import export_all
from flows.landing import loads
from flows.landing.content import Reading, open_content
from flows.lock import hold_lock
from flows.problems import ActionableError
from flows.settings import Settings
from flows.suppression.actions import append_record, start_record, write_action
from flows.suppression.check import check
from flows.suppression.questions import find_history
from tests.conftest import run_all
from tests.exports.manifests import check_manifest

PSEUDONYM = f"erased-{'0f' * 16}@mail.example"
ANN = Target("ann@mail.example", PSEUDONYM)
ANNE = Target("anne.o'hara+news@bücher.example".replace("bücher", "xn--bcher-kva"), PSEUDONYM)

NAMED = [
    (ANN, "ann@mail.example"),
    (ANN, "to=<Ann@MAIL.example>, relay=mx"),
    (ANN, '{"rcpt":"ann@mail.example"}'),
    (ANN, r"line\nann@mail.example\r\n"),
    (ANN, r"\u003cann@mail.example\u003e"),
    (ANN, r"ann\u0040mail.example"),
    (ANN, "https://x.example/?e=ann%40mail.example&x=1"),
    (ANN, "%3Cann%40mail.example%3E"),
    (ANN, "bounces-17-ann=mail.example@brand.example"),
    (ANN, "prvs=0123456789=ann@mail.example"),
    (ANN, "rfc822;ann@mail.example"),
    (ANN, "the mailbox ann@mail.example."),
    (ANN, "„ann@mail.example“"),
    (ANN, "ann@mail.example,ann@mail.example"),
    (ANN, "'ann@mail.example'"),
    (ANNE, "Anne.O'Hara+News@Bücher.example"),
    (ANNE, "anne.o'hara+news@xn--bcher-kva.example"),
    (ANNE, "anne.o%27hara%2Bnews%40b%C3%BCcher.example"),
    (ANNE, r"anne.o\u0027hara\u002bnews@b\u00fccher.example"),
]
OTHERS = [
    "joann@mail.example",
    "jo-ann@mail.example",
    "jo.ann@mail.example",
    "jo+ann@mail.example",
    "éann@mail.example",
    "ann+news@mail.example",
    "ann@mail.example.org",
    "ann@mail.examples",
    "ann@my-mail.example",
    "ann@mail-example",
    "ann at mail.example",
]


@pytest.mark.parametrize(("target", "text"), NAMED)
def test_an_address_is_found_in_every_form(target, text):
    column = pa.array([text, None, "nothing"])
    assert find_rows(column, [target]).to_pylist() == [True, False, False]
    batch = pa.RecordBatch.from_arrays([column], ["text"])
    replaced = replace_in_batch(batch, [target])["text"]
    assert replaced[1:].to_pylist() == [None, "nothing"]
    assert "erased-0f" in replaced[0].as_py()
    assert find_rows(replaced, [target]).to_pylist() == [False, False, False]
    assert replace_in_batch(batch, [ANN, ANNE])["text"] == replaced


@pytest.mark.parametrize("text", OTHERS)
def test_another_address_stays(text):
    column = pa.array([text])
    assert find_rows(column, [ANN]).to_pylist() == [False]
    assert not holds(text.encode(), [ANN]) or text.startswith("é")  # of bytes nobody knows what is a letter


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "latin-1"])
def test_bytes_of_any_encoding_are_looked_through(encoding):
    data = "\x01 to <Ann@Mail.example>; ü".encode(encoding)
    assert holds(data, [ANN])
    replaced = replace_in_bytes(data, [ANN])
    assert not holds(replaced, [ANN])
    assert replaced.decode(encoding) == f"\x01 to <{PSEUDONYM.split('@')[0]}@Mail.example>; ü"


def test_quoted_printable_is_looked_through():
    assert replace_in_bytes(b"<a>=3Cann=40mail.example=3E", [ANN]).startswith(b"<a>=3Cerased-")


def test_the_local_part_goes_where_the_reply_quotes_it():
    ann = Target("ann.lee7@mail.example", PSEUDONYM)
    new = PSEUDONYM.split("@")[0]
    rows = [
        ("ann.lee7@mail.example", "550 mailbox ann.lee7 of 'ann.lee7' unknown"),
        ("bob@mail.example", "550 mailbox ann.lee7 unknown"),
        ("ann.lee7@mail.example", '{"ann.lee7":1,"to":"ann.lee7@mail.example","reply":"no \\"ann.lee7\\""}'),
    ]
    batch = pa.RecordBatch.from_pydict({"recipient": [row[0] for row in rows], "reply": [row[1] for row in rows]})
    assert replace_in_batch(batch, [ann])["reply"].to_pylist() == [
        f"550 mailbox {new} of '{new}' unknown",
        "550 mailbox ann.lee7 unknown",
        f'{{"ann.lee7":1,"to":"{PSEUDONYM}","reply":"no \\"{new}\\""}}',
    ]


def test_the_keys_and_values_of_a_vendor_stay():
    bounce = Target("bounce@mail.example", PSEUDONYM)
    record = '{"type":"bounce","bounce":{"to":"bounce@mail.example"}}'
    batch = pa.RecordBatch.from_pydict({"record": [record]})
    assert replace_in_batch(batch, [bounce])["record"].to_pylist() == [record.replace("bounce@mail.example", PSEUDONYM)]


@settings_of_tests(deadline=None, max_examples=50)
@given(st.text(max_size=30), st.sampled_from(["ann@mail.example", "ANN@mail.example"]), st.text(max_size=30))
@example("a", "ann@mail.example", "b")
def test_what_is_replaced_is_no_longer_found_and_nothing_else_moves(before, address, after):
    text = f"{before}<{address}>{after}"
    replaced = replace_in_batch(pa.RecordBatch.from_pydict({"text": [text]}), [ANN])["text"]
    assert not find_rows(replaced, [ANN])[0].as_py()
    new = PSEUDONYM.split("@")[0]
    assert re.sub(new, "ann", replaced[0].as_py(), flags=re.I).lower() == text.lower()


@pytest.fixture(scope="module")
def engine():
    with duckdb.connect() as connection:
        register(connection)
        yield connection


@settings_of_tests(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(max_size=20),
        st.from_regex(r"\A[A-Za-zÜüß+.]{1,8}@[A-Za-zÜüß.-]{1,12}\Z"),
        st.from_regex(r"\A\"?[A-Z a-z]{0,6}\"? ?<[a-z]{1,4}@[a-zÜ.]{1,9}> ?\Z"),
    )
)
@example(text="\x80@")  # nothing behind the @ of a text that is not ASCII
def test_the_normal_form_is_that_of_the_models(engine, text):
    macro = read_macros().normal_address("written")
    (found,) = engine.execute(f"select {macro} from (select $1::varchar as written)", [text]).fetchone()
    assert (found or "") == normal_form(text)


def test_an_erased_address_is_found_by_its_hash(engine):
    new = Pseudonyms(b"key", frozenset())
    pseudonyms = Pseudonyms(b"key", frozenset(map(new.of, (ANN.address, ANNE.address, "eve@x.example"))))
    prepare(engine, pseudonyms)
    engine.execute("create or replace table texts (written varchar)")
    # of an international domain, only as people or DNS write it: records name the address in plain form too
    for target, text in NAMED[:-2]:
        engine.execute("delete from texts")
        engine.execute("insert into texts select unnest($1::varchar[])", [["eve@y.example", text, None]])
        assert search(engine, "texts", ["written"]) == {target.address: new.of(target.address)}, text
    known = engine.execute("select known_address($1), known_address('bob@mail.example')", [ANNE.address])
    assert known.fetchone() == (new.of(ANNE.address), "bob@mail.example")


def test_a_lost_key_is_an_error_that_says_so(tmp_path):
    settings = Settings(home=tmp_path)
    assert read_pseudonyms(settings) is None
    record_erasures(settings, [make_pseudonyms(settings).of("ann@mail.example")], by="eve", reason="asked")
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o077 == 0
    assert make_pseudonyms(settings).known
    (tmp_path / KEY_NAME).unlink()
    with pytest.raises(ActionableError, match="missing or damaged"):
        read_pseudonyms(settings)


def test_a_record_that_a_crash_has_cut_does_not_swallow_the_next(tmp_path):
    settings = Settings(home=tmp_path)
    pseudonyms = make_pseudonyms(settings)
    (tmp_path / "erasures.jsonl").write_text('{"pseudonym": "erased-')
    record_erasures(settings, [pseudonyms.of("ann@mail.example")], by="eve", reason="asked")
    assert make_pseudonyms(settings).known == {pseudonyms.of("ann@mail.example")}


def test_a_landed_file_is_whole_at_every_step_of_its_replacement(generated, tmp_path, monkeypatch):
    settings = copy_home(generated.settings, tmp_path)
    load = next(each for each in loads.read_loads(settings) if each.source_name == "exim")
    pack = [each for each in loads.read_loads(settings) if each.landing_name == load.landing_name]
    path = loads.landing_path(settings, load.source_name, load.landing_name)
    rewritten = tmp_path / "rewritten.parquet"
    pq.write_table(pq.read_table(path), rewritten, compression="none")
    seen = []
    replaced = Path.replace

    def replace(self, target):
        seen.append(loads.Landed(settings, "exim").find(load.file_digest))
        replaced(self, target)
        seen.append(loads.Landed(settings, "exim").find(load.file_digest))

    monkeypatch.setattr(Path, "replace", replace)
    loads.replace_landed(settings, pack, rewritten)
    assert len(seen) == 6 and all(seen)
    assert seen[-1].landing_bytes == path.stat().st_size and seen[-1].next_landing_bytes is None


def test_an_action_is_not_lost_while_its_file_is_rewritten(tmp_path):
    settings = Settings(home=tmp_path)
    path = append_record(settings, {**start_record("add", by="eve", reason="first"), "address": "ann@mail.example"})
    done = threading.Event()

    def rewrite():
        # bounded and with a breath between: whoever rewrites without a pause keeps everybody else from the lock
        for _ in range(100):
            rewrite_file(path, [ANN])
            if done.wait(0.001):
                break

    thread = threading.Thread(target=rewrite)
    thread.start()
    for number in range(60):
        write_action(settings, "add", f"bob{number}@mail.example", by="eve", reason="asked")
    done.set()
    thread.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["address"] for line in lines] == [PSEUDONYM, *(f"bob{number}@mail.example" for number in range(60))]


def copy_home(settings: Settings, folder: Path) -> Settings:
    """A home of one's own with what another one holds, and an inbox that may be added to."""
    home = folder / "home"
    shutil.copytree(settings.root, home)
    shutil.copytree(settings.inbox, folder / "inbox")
    return Settings(home=home, inbox_directory=folder / "inbox")


def read_raw(path: Path) -> bytes:
    """All that a file holds, taken out of its compression, in lower case."""
    if path.suffix == ".parquet":
        return str(pq.read_table(path).to_pydict()).encode().lower()
    if path.suffix == ".duckdb":
        with duckdb.connect() as connection:
            connection.execute(f"attach '{path}' as read (read_only)")
            names = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            tables = [connection.execute(f'from read."{schema}"."{table}"').fetchall() for schema, table in names]
        return str(tables).encode().lower() + path.read_bytes().lower()
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist()).lower()
    return path.read_bytes().lower()


def find_in_home(settings: Settings, words: list[bytes]) -> list[Path]:
    return [
        path
        for path in settings.root.rglob("*")
        if path.is_file() and any(word in read_raw(path) or word in str(path).encode() for word in words)
    ]


def read_figures(settings: Settings) -> dict[str, object]:
    """What an erasure may not change: the aggregates whole, and how many rows there are of everything."""
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        tables = [
            table
            for (table,) in connection.execute(
                "select table_name from duckdb_tables() where schema_name = 'marts' order by all"
            ).fetchall()
        ]
        whole = [table for table in tables if table.startswith("rpt_")] + ["dim_bounce_reasons", "ops_sources"]
        return {
            **{table: sorted(map(repr, connection.execute(f"from marts.{table}").fetchall())) for table in whole},
            **{table: connection.execute(f"select count(*) from marts.{table}").fetchone() for table in tables},
            "texts": sorted(connection.execute("select text_id, bounce_text from marts.dim_bounce_texts").fetchall()),
        }


@pytest.mark.xdist_group("erasure")
def test_an_erased_address_stands_nowhere_and_stays_on_its_lists(generated, tmp_path):
    settings = copy_home(generated.settings, tmp_path)
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        (hard,) = connection.execute(
            """select recipient from marts.fct_delivery_events
            where
                recipient in (select address from marts.dim_suppressed_addresses)
                and recipient not in (select address from marts.dim_global_suppressed_addresses)
            group by 1 order by count(distinct source_name) desc, count(*) desc, 1 limit 1"""
        ).fetchone()
        (left,) = connection.execute(
            "select address from marts.dim_global_suppressed_addresses where address <> $1 order by 1 limit 1", [hard]
        ).fetchone()
    decided = "Dana.Dorn+x@bücher.example"
    write_action(settings, "add", decided, by="eve", reason=f"asked by {decided}")
    before = read_figures(settings)
    export_all(settings)
    (copies,) = (settings.exports / "dated").iterdir()
    copies = copies.rename(copies.with_name(str(date.fromisoformat(copies.name) - timedelta(days=1))))
    hints = [hard.encode(), left.encode(), b"dana.dorn"]
    named = find_in_home(settings, hints)
    assert {"suppression_list.csv", "suppression_list.xlsx", "suppression_list.parquet"} <= {
        path.name for path in named if path.parent == copies
    }

    erased = erase(settings, [hard.upper(), left, decided], by="eve", reason="asked by letter")

    assert find_in_home(settings, hints) == []
    assert find_everywhere(settings, [hard, left, decided]) == []
    assert len(erased.pseudonyms) == 3
    left_of_copies = sorted(path.name for path in copies.iterdir())
    assert {"bounces_by_from_domain.csv", "suppression_list.csv", "suppression_list.parquet"} <= set(left_of_copies)
    assert "suppression_list.xlsx" not in left_of_copies
    for folder in (settings.exports, copies):
        check_manifest(folder)
    assert {path.name for path in erased.raw_logs}
    assert all(holds_raw(path, [hard, left]) for path in erased.raw_logs)
    after = read_figures(settings)
    changed = {name for name in before if before[name] != after[name]}
    # the action that waited was built, and its file landed once more when it was rewritten
    assert changed <= {
        "ops_sources", "ops_loads", "ops_actions", "dim_profiles", "dim_profile_history", "dim_suppressed_addresses",
        "fct_suppression_events", "fct_suppression_causes", "ops_suppression_policy_addresses",
        "ops_suppression_policies", "ops_reconciliation",
    }, changed  # fmt: skip
    assert erase(settings, [hard, left, decided], by="eve", reason="again").pseudonyms == []

    mailing = tmp_path / "mailing.csv"
    mailing.write_text(f"email\n{hard}\nnobody@else.example\n{left.upper()}\nDana.Dorn+x@xn--bcher-kva.example\n")
    result = check(settings, mailing)
    assert (result.allowed, result.suppressed) == (1, 3)
    assert find_history(settings, hard).events[0]["action"] == "added"
    write_action(settings, "remove", hard, by="eve", reason="wants mail again")
    assert hard.encode() not in b"".join(path.read_bytes() for path in settings.actions.iterdir())
    assert check(settings, mailing).suppressed == 2

    late_log = settings.inbox / "events" / "late.jsonl"
    late_log.parent.mkdir(exist_ok=True)
    event = {"event_type": "bounced", "event_at": "2026-03-20T10:00:00Z", "recipient": left.upper()}
    event |= {"smtp_code": 550, "response_text": f"550 5.1.1 <{left}>: no such user", "message_id": "late"}
    late_log.write_text(json.dumps(event) + "\n")
    run_all(settings)
    assert find_in_home(settings, hints) == []
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        (recipient,) = connection.execute(
            "select recipient from marts.fct_delivery_events where event_at = timestamp '2026-03-20 10:00'"
        ).fetchone()
    assert recipient == read_pseudonyms(settings).of(left)
    assert find_history(settings, left).states["suppression"]


@pytest.mark.long
@pytest.mark.xdist_group("erasure")
def test_an_erasure_that_was_killed_is_brought_to_its_end_by_the_next_run(generated, tmp_path, monkeypatch):
    settings = copy_home(generated.settings, tmp_path)
    with duckdb.connect(settings.published_database, read_only=True) as connection:
        (hard,) = connection.execute("select max(address) from marts.dim_suppressed_addresses").fetchone()
    before = read_figures(settings)

    def die(*_, **__):
        raise KeyboardInterrupt

    export_all(settings)
    (copies,) = (settings.exports / "dated").iterdir()
    copies = copies.rename(copies.with_name(str(date.fromisoformat(copies.name) - timedelta(days=1))))
    monkeypatch.setattr("flows.erasure.erase.rewrite", die)
    with pytest.raises(KeyboardInterrupt):
        erase(settings, [hard], by="eve", reason="asked")
    monkeypatch.undo()
    assert find_in_home(settings, [hard.encode()])

    run_all(settings)

    assert read_figures(settings) == before
    folders = (settings.landing, settings.rejects, settings.actions)
    kept = [path for path in find_in_home(settings, [hard.encode()]) if any(map(path.is_relative_to, folders))]
    assert kept == []
    assert not [path for path in find_in_home(settings, [hard.encode()]) if path.is_relative_to(copies)]
    check_manifest(copies)
    assert find_history(settings, hard).states["suppression"]
    export_all(settings)
    assert find_everywhere(settings, [hard]) == []


def test_one_run_at_a_time(tmp_path):
    settings = Settings(home=tmp_path)
    with hold_lock(settings), pytest.raises(ActionableError, match="another run"):
        erase(settings, ["ann@mail.example"], by="eve", reason="asked")


def test_nothing_is_recorded_of_an_address_that_stands_nowhere(tmp_path):
    settings = Settings(home=tmp_path)
    assert erase(settings, ["ann@mail.example"], by="eve", reason="asked").pseudonyms == []
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_files_of_a_home_are_for_their_owner_only(generated, tmp_path):
    settings = copy_home(generated.settings, tmp_path)
    for path in (settings.landing, settings.published_database):
        path.chmod(0o777)
    with hold_lock(settings):
        assert all(path.stat().st_mode & 0o077 == 0 for path in settings.folders if path.exists())
        assert settings.published_database.stat().st_mode & 0o077 == 0
        fresh = settings.root / "fresh"
        fresh.touch()
        assert fresh.stat().st_mode & 0o777 == 0o600
    group = settings.model_copy(update={"readable_by": "group"})
    with hold_lock(group):
        (settings.root / "shared").touch()
        assert (settings.root / "shared").stat().st_mode & 0o777 == 0o640
    os.umask(0o022)


def holds_raw(path: Path, addresses: list[str]) -> bool:
    with open_content(path, inflation_limit=200) as content:
        data = read_raw(path) if path.suffix == ".parquet" else b"".join(content.blocks(Reading())).lower()
    return any(address.encode() in data for address in addresses)


def test_every_file_that_names_the_address_is_rewritten_or_goes(tmp_path):
    """Also the second pack that a content lies in, which nothing reads, and what a killed landing left."""
    settings = Settings(home=tmp_path / "home")
    folder = settings.inbox / "events"
    folder.mkdir(parents=True)
    for name in ("ann", "bob", "eve"):
        event = {"event_type": "delivered", "event_at": "2026-03-02T10:00:00Z", "recipient": f"{name}@mail.example"}
        (folder / f"{name}.jsonl").write_text(json.dumps(event) + "\n")
    arrivals = {arrival.path.stem: arrival for arrival in landing.find_arrivals(settings).files}
    landing.land_files(settings, [arrivals["ann"], arrivals["bob"]])
    first = settings.landing / "events"
    kept = {path: path.read_bytes() for path in first.iterdir() if path.is_file()}
    for path in kept:
        path.unlink()
    landing.land_files(settings, [arrivals["ann"], arrivals["eve"]])
    for path, content in kept.items():
        path.write_bytes(content)
    orphan = first / f"{'0' * 64}.parquet"
    shutil.copy(next(first.glob("*.parquet")), orphan)
    before = {load.file_digest: load.records_landed for load in loads.read_loads(settings)}
    found = {place.path for place in find_everywhere(settings, [ANN.address])}
    assert len(found) == 3

    rewrite_landed(settings, found, [ANN])

    assert find_everywhere(settings, [ANN.address]) == []
    assert not orphan.exists()
    assert {load.file_digest: load.records_landed for load in loads.read_loads(settings)} == before
    assert len(before) == 3
    assert [len(json.loads(path.read_text())["loads"]) for path in first.glob("pack-*.json")] == [2, 2]


def test_a_database_that_cannot_be_searched_is_no_proof(tmp_path):
    settings = Settings(home=tmp_path)
    database = str(settings.published_database)
    script = f"import duckdb, sys; held = duckdb.connect({database!r}); print('on', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout.readline()
        with pytest.raises(ActionableError, match="open for writing"):
            find_everywhere(settings, ["ann@mail.example"])
        client.stdin.close()


def test_only_databases_go_with_the_private_one(tmp_path):
    settings = Settings(home=tmp_path)
    for name in (
        "work.duckdb",
        "work.duckdb.wal",
        "work.damaged.duckdb",
        "work.newer.duckdb",
        "marts.duckdb",
        "marts.duckdb.wal",
        "marts.unmatched.duckdb",
        ".work.duckdb.new",
        ".marts.duckdb.new",
        ".marts.duckdb.new.wal",
        "work.md",
        "marts.md",
    ):
        (tmp_path / name).touch()
    remove_private_databases(settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marts.md", "work.md"]
