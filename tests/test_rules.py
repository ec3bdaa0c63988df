"""The rule set: every rule is sound, fires on its own example, and the known replies come out right."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import rules
from flows.classify import OutputFormat, classify
from flows.problems import WrongUsageError
from flows.rules.literals import required_literals

PROJECT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
RULE_SET = rules.read_rule_set(PROJECT)


def read_csv(name: str) -> list[dict[str, str]]:
    with (FIXTURES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


EXAMPLES = read_csv("reply_examples.csv")
KNOWN_REPLIES = read_csv("known_replies.csv")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        rules.install(connection, PROJECT)
        yield connection


def judge(
    connection: duckdb.DuckDBPyConnection, replies: list[tuple[str | None, str | None]]
) -> list[dict[str, str | bool | None]]:
    """`classify_bounce` of pairs of reply and MX host, in order, in one query."""
    connection.execute(
        "create or replace temp table replies as select unnest($1::varchar[]) as reply, unnest($2::varchar[]) as mx_host",
        [[reply for reply, _ in replies], [mx_host or None for _, mx_host in replies]],
    )
    judged = connection.execute("select classify_bounce(reply, mx_host) from replies order by rowid").fetchall()
    return [judgement for (judgement,) in judged]


def test_every_pattern_compiles(connection: duckdb.DuckDBPyConnection) -> None:
    wrong = []
    for rule in RULE_SET.rules:
        try:
            connection.execute("select regexp_matches('x', $1)", [f"(?is){rule.regex}"])
        except duckdb.Error as error:
            wrong.append(f"{rule.rule_id}: {error}")
    assert not wrong


def test_no_pattern_matches_every_text(connection: duckdb.DuckDBPyConnection) -> None:
    row = connection.execute(
        "select regexp_matches('', $1)", ["(?is)" + "|".join(rule.regex for rule in RULE_SET.rules)]
    )
    assert row.fetchone() == (False,)


def test_every_rule_has_an_example() -> None:
    assert {rule.rule_id for rule in RULE_SET.rules} == {example["rule_id"] for example in EXAMPLES}


def test_every_rule_fires_on_its_example(connection: duckdb.DuckDBPyConnection) -> None:
    judged = judge(connection, [(example["reply"], example["mx_host"]) for example in EXAMPLES])
    missed = {
        example["reply"]: f"{judgement['rule_id']} instead of {example['rule_id']}"
        for example, judgement in zip(EXAMPLES, judged, strict=True)
        if judgement["rule_id"] != example["rule_id"]
    }
    assert not missed, "a rule that comes before always takes the example"


def test_no_regex_matches_without_one_of_its_words() -> None:
    """Groups of rules are asked only of texts that hold such a word: one that is not needed would silence a rule."""
    texts = [row["reply"] for row in (*EXAMPLES, *KNOWN_REPLIES)]
    silenced = []
    for rule in RULE_SET.rules:
        words = required_literals(rule.regex)
        pattern = re.compile(rule.regex, re.I | re.S | re.A)
        silenced += [
            (rule.rule_id, text)
            for text in texts
            if words and pattern.search(text) and not any(word in text.lower() for word in words)
        ]
    assert not silenced


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("user unknown", {"user unknown"}),
        ("no such (?:user|person)", {"no such user", "no such person"}),
        ("Colou?r", {"color", "colour"}),
        ("(?:user|mailbox)[^.;]* moved to", {" moved to"}),
        (r"\bDT:SP[MT]\b", {"dt:spm", "dt:spt"}),
        ("(?:quota)+ over", {"quota"}),
        ("quota|.", None),
        ("(?:quota)?", None),
        ("ab", None),
        (r"quota\p{L}", None),
    ],
)
def test_required_literals(regex: str, words: Set[str] | None) -> None:
    assert required_literals(regex) == words


def test_a_rule_may_ask_for_an_mx_pattern(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "seeds", tmp_path / "seeds")
    with (tmp_path / "seeds" / rules.RULES).open("a", encoding="utf-8", newline="") as file:
        file.write("by_host,1,text,all,^mx7[.],xyzzy,,virus_detected,,test\n")
        file.write("by_both,2,text,google microsoft,^mx[89][.].*google,xyzzy,,auto_reply,,test\n")
    with duckdb.connect() as connection:
        rules.install(connection, tmp_path)
        judged = [
            connection.execute("select classify_bounce('550 xyzzy', $1).rule_id", [mx_host]).fetchall()[0][0]
            for mx_host in ("MX7.shop.example", "mx8.google.com", "mx8.shop.example", "mx6.google.com", None)
        ]
        classes = connection.execute(
            "select mx_class_of('mx7.google.com', null), mx_class_of(null, 'gmail.com'), mx_class_of(null, 'shop.example')"
        ).fetchone()
    assert judged == ["by_host", "by_both", "none", "none", "none"]
    assert classes == (" by_host google ", " google ", None)


def test_a_rule_for_some_servers_leans_on_text(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "seeds", tmp_path / "seeds")
    with (tmp_path / "seeds" / rules.RULES).open("a", encoding="utf-8", newline="") as file:
        file.write("by_host,1,weak_text,all,^mx7[.],xyzzy,,virus_detected,,test\n")
    with pytest.raises(ValueError, match="by_host"):
        rules.compile_macros(tmp_path)


def test_every_code_speaks_where_the_text_is_silent(connection: duckdb.DuckDBPyConnection) -> None:
    judged = judge(connection, [(f"550 5.{code.code} xyzzy", None) for code in RULE_SET.codes])
    for code, judgement in zip(RULE_SET.codes, judged, strict=True):
        assert judgement["reason"] == code.reason, code


@pytest.mark.parametrize("field", ["reason", "provider", "evidence", "pattern", "priority", "rule_id"])
def test_a_faulty_rule_is_named(tmp_path: Path, field: str) -> None:
    shutil.copytree(PROJECT / "seeds", tmp_path / "seeds")
    with (PROJECT / "seeds" / rules.RULES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fault = {"pattern": "", "priority": rows[0]["priority"], "rule_id": rows[0]["rule_id"]}
    rows[1][field] = fault.get(field, "nonsense")
    with (tmp_path / "seeds" / rules.RULES).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ValueError, match=re.escape(rules.RULES)) as caught:
        rules.compile_macros(tmp_path)
    assert rows[1]["rule_id"] in str(caught.value) or rows[1][field] in str(caught.value)


def test_the_version_changes_with_any_seed(tmp_path: Path) -> None:
    versions = {rules.rule_set_version(PROJECT)}
    for number, name in enumerate(rules.SEEDS, 2):
        shutil.copytree(PROJECT / "seeds", tmp_path / str(number) / "seeds")
        with (tmp_path / str(number) / "seeds" / name).open("a", encoding="utf-8") as file:
            file.write("\n")
        versions.add(rules.rule_set_version(tmp_path / str(number)))
        assert len(versions) == number
    assert rules.rule_set_version(PROJECT) in versions


def test_the_first_replies_are_explained(connection: duckdb.DuckDBPyConnection) -> None:
    """The replies that the report was first asked to explain, with a word that their explanation must contain."""
    expected = {
        "421 Message source blocked temporarily. One or more sender authentication rules matched.": (
            "auth_failed",
            "DMARC",
        ),
        "421 Service Temporarily Unavailable": ("system_error", "maintenance"),
        "451 Please try again later": ("system_error", "maintenance"),
        "451 <EMAIL>: Recipient address rejected: Intentional policy rejection, please try again later": (
            "policy_rejected",
            "reputation",
        ),
        "450 <EMAIL>: Sender address rejected: Greylisted for 120 seconds! Please, see <URL>": (
            "rate_limited",
            "retried automatically",
        ),
        "552 5.2.2 mailbox over quota": ("mailbox_full", "quota"),
        "552 5.3.4 message too large": ("message_too_large", "larger"),
    }
    with (PROJECT / "seeds" / rules.RULES).open(encoding="utf-8", newline="") as file:
        descriptions = {row["rule_id"]: row["description"] for row in csv.DictReader(file)}
    judged = judge(connection, [(reply, None) for reply in expected])
    for (reply, (reason, word)), judgement in zip(expected.items(), judged, strict=True):
        assert judgement["reason"] == reason, reply
        assert word in descriptions[str(judgement["rule_id"])], reply


def test_known_replies(connection: duckdb.DuckDBPyConnection) -> None:
    judged = judge(connection, [(known["reply"], known["mx_host"]) for known in KNOWN_REPLIES])
    wrong = {
        known["reply"]: f"{judgement['reason']} by {judgement['rule_id']}, not {known['reasons']}"
        for known, judgement in zip(KNOWN_REPLIES, judged, strict=True)
        if judgement["reason"] not in known["reasons"].split()
    }
    assert not wrong


@pytest.mark.parametrize(
    ("reply", "mx_host", "expected"),
    [
        pytest.param("550 5.1.1 user unknown", None, ("user_unknown", True, "hard"), id="hard and about the recipient"),
        pytest.param("450 4.1.1 user unknown", None, ("user_unknown", False, "soft"), id="soft suppresses nobody"),
        pytest.param("5.1.1 user unknown", None, ("user_unknown", True, "hard"), id="class by the enhanced code"),
        pytest.param("user unknown", None, ("user_unknown", False, None), id="no code, no class"),
        pytest.param(
            "552 5.2.2 mailbox full", None, ("mailbox_full", False, "hard"), id="a full mailbox can be emptied"
        ),
        pytest.param(
            "550 5.2.1 Mailbox unavailable. Your IP 192.0.2.1 is blacklisted",
            None,
            ("spam_block", False, "hard"),
            id="the sender's fault comes before the recipient's words",
        ),
        pytest.param(
            "550 5.1.1 You have sent to too many recipients this hour",
            None,
            ("rate_limited", False, "hard"),
            id="a rate under the code of an unknown user",
        ),
        pytest.param("550 5.1.10 xyzzy", None, ("bad_domain", True, "hard"), id="null MX by the registry"),
        pytest.param(
            "550 5.1.10 Recipient not found",
            "shop-example.mail.protection.outlook.com",
            ("user_unknown", True, "hard"),
            id="but not at Microsoft",
        ),
        pytest.param(
            "550 <relay.denied@spam.example>: user unknown",
            None,
            ("user_unknown", True, "hard"),
            id="words of an address do not count",
        ),
        pytest.param(None, None, ("undetermined", False, None), id="NULL"),
        pytest.param("", "", ("undetermined", False, None), id="empty"),
        pytest.param("550", None, ("undetermined", False, "hard"), id="only a code"),
        pytest.param("550 '); drop table replies; --", None, ("undetermined", False, "hard"), id="SQL"),
        pytest.param("550 (((.*)+)+$ [[: \\", None, ("undetermined", False, "hard"), id="a regex"),
        pytest.param("550 $1 \\1 %s {0} {{ x }} ${y}", None, ("undetermined", False, "hard"), id="templates"),
        pytest.param("\x00\x01\x1b\u202e", None, ("undetermined", False, None), id="nothing but control characters"),
        pytest.param("@", None, ("undetermined", False, None), id="nothing but a sign"),
        pytest.param("5.1.1", None, ("user_unknown", True, "hard"), id="only an enhanced code"),
        pytest.param("550\t5.1.1\u00a0user\u3000unknown", None, ("user_unknown", True, "hard"), id="odd spaces"),
        pytest.param("550 " + "(" * 100_000, None, ("undetermined", False, "hard"), id="one word of 100 KB"),
        pytest.param("550 ユーザ unknown 用户 пользователь", None, ("undetermined", False, "hard"), id="mixed scripts"),
        pytest.param("550 5.1.1 user\x00 \x1bunknown", None, ("user_unknown", True, "hard"), id="control characters"),
        pytest.param("550 5.1.1 user unknown " + "x" * 1_000_000, None, ("user_unknown", True, "hard"), id="1 MB"),
        pytest.param(
            "550 5.1.1 user unknown " + "a " * 500_000, None, ("user_unknown", True, "hard"), id="1 MB of words"
        ),
    ],
)
def test_classify_bounce(
    connection: duckdb.DuckDBPyConnection,
    reply: str | None,
    mx_host: str | None,
    expected: tuple[str, bool, str | None],
) -> None:
    judgement = judge(connection, [(reply, mx_host)])[0]
    assert (judgement["reason"], judgement["suppress"], judgement["bounce_class"]) == expected


@settings(max_examples=10, deadline=None)
@given(replies=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=20))
def test_any_text_gets_a_known_reason(connection: duckdb.DuckDBPyConnection, replies: list[str]) -> None:
    judged = judge(connection, [(reply, None) for reply in replies])
    assert {judgement["reason"] for judgement in judged} <= set(RULE_SET.reasons)


@pytest.mark.parametrize(
    ("mx_host", "domain", "provider"),
    [
        ("gmail-smtp-in.l.google.com", "shop.example", "google"),
        ("GMAIL-SMTP-IN.L.GOOGLE.COM.", None, "google"),
        (None, "gmail.com", "google"),
        ("mx.shop.example", "gmail.com", "google"),
        ("shop-example.mail.protection.outlook.com", None, "microsoft"),
        ("mx.yahoo.co.jp", None, "yahoo_japan"),
        ("notgoogle.com", "notgmail.com", None),
        (None, None, None),
    ],
)
def test_provider_of(
    connection: duckdb.DuckDBPyConnection, mx_host: str | None, domain: str | None, provider: str | None
) -> None:
    assert connection.execute("select provider_of($1, $2)", [mx_host, domain]).fetchone() == (provider,)


def test_macros_work_from_an_attached_database(tmp_path: Path) -> None:
    """As analysts have it: the published file attached under any name, its schema not on the search path."""
    with duckdb.connect(tmp_path / "published.duckdb") as published:
        published.execute("create schema marts")
        rules.install(published, PROJECT, schema="marts")
    with duckdb.connect() as analyst:
        analyst.execute(f"attach '{tmp_path / 'published.duckdb'}' as bounces (read_only)")
        row = analyst.execute("select bounces.marts.classify_bounce('550 5.1.1 user unknown', null).reason").fetchone()
    assert row == ("user_unknown",)


def classified(replies: str | bytes, output_format: OutputFormat = "jsonl") -> str:
    output = io.BytesIO()
    classify(io.BytesIO(replies if isinstance(replies, bytes) else replies.encode()), output, PROJECT, output_format)
    return output.getvalue().decode()


def test_classify_answers_json_lines_in_order() -> None:
    lines = [
        json.dumps({"id": "b", "text": "550 5.1.1 <a@b.example>: user unknown", "mx_host": None}),
        "",
        json.dumps({"text": "451 try again later \ud800", "mx_host": "mx.b.example"}),
    ]
    answers = [json.loads(line) for line in classified("\n".join(lines)).splitlines()]
    assert answers == [
        {"id": "b", "rule_id": "user_unknown", "reason": "user_unknown", "suppress": True, "bounce_class": "hard",
         "bounce_text": "550 5.1.1 <EMAIL>: user unknown"},
        {"id": 3, "rule_id": "overload_or_maintenance", "reason": "system_error", "suppress": False, "bounce_class": "soft",
         "bounce_text": "451 try again later ?"},
    ]  # fmt: skip


def test_classify_shows_plain_lines_as_a_table() -> None:
    header, first, second = classified(
        "550 5.1.1 user unknown\n\n550 \x1b[31mxyzzy \u202e\x9b\ue000\n", "table"
    ).splitlines()
    assert header.split() == ["bounce_class", "suppress", "reason", "rule_id", "bounce_text"]
    assert first.split()[:4] == ["hard", "yes", "user_unknown", "user_unknown"]
    assert second.split()[:4] == ["hard", "no", "undetermined", "none"]
    assert not set("\x1b\u202e\x9b\ue000") & set(second)


def test_classify_names_the_line_that_is_wrong() -> None:
    for lines, said in (
        ('{"text": "550 x"}\n550 x\n', "line 2 is not JSON"),
        ('{"text": "550 x"}\n' + '{"text": ' + "[" * 100_000, "line 2 is not JSON"),
        ('{"reply": "550 x"}\n', 'line 1 has no "text"'),
        ("550 5.1.1 user unknown\n".encode("utf-16"), "the input is UTF-16"),
    ):
        with pytest.raises(WrongUsageError, match=said):
            classified(lines)


def test_classify_takes_what_files_hold_besides_text() -> None:
    """A byte order mark, CR LF, blank lines, bytes of another encoding, nothing but a code, NUL, a last line cut short."""
    replies = (
        b"\xef\xbb\xbf550 5.1.1 user unknown\r\n\r\n   \n"
        b"550 bo\xeete inconnue\r\n550\r\n452 4.2.2 mail\x00box\x85 full\n550 5.1.1 us"
    )
    answers = [json.loads(line) for line in classified(replies).splitlines()]
    assert [(answer["id"], answer["reason"], answer["bounce_text"]) for answer in answers] == [
        (1, "user_unknown", "550 5.1.1 user unknown"),
        (4, "undetermined", "550 bo\ufffdte inconnue"),
        (5, "undetermined", "550"),
        (6, "mailbox_full", "452 4.2.2 mail box\ufffd full"),
        (7, "user_unknown", "550 5.1.1 us"),
    ]
    (answer,) = classified(b'\xef\xbb\xbf{"id": "a", "text": "550 x"}\r\n').splitlines()
    assert json.loads(answer)["id"] == "a"


def test_classify_answers_an_empty_text_and_a_long_one() -> None:
    """Of a megabyte the beginning is judged, as the macros of the published file judge it: to the last whole word."""
    long = "550 5.1.1 user unknown " + "ab " * 350_000
    cut = "550 5.1.1 user unknown " + "w" * 10_000
    lines = "".join(json.dumps({"text": text}) + "\n" for text in ("", long, cut))
    empty, judged, shortened = [json.loads(line) for line in classified(lines).splitlines()]
    assert (empty["reason"], empty["bounce_class"], empty["bounce_text"]) == ("undetermined", None, "")
    assert judged["reason"] == shortened["reason"] == "user_unknown"
    assert shortened["bounce_text"] == "550 5.1.1 user unknown"
    with duckdb.connect() as connection:
        rules.install(connection, PROJECT)
        assert connection.execute("select mask_reply(?)", [long]).fetchall() == [(judged["bounce_text"],)]


def test_classify_writes_an_id_that_no_text_can_hold() -> None:
    (line,) = classified('{"id": "\\ud800", "text": "550 x"}').splitlines()
    assert json.loads(line)["id"] == "\ud800"


def test_classify_of_nothing_is_nothing() -> None:
    assert classified("\n\n") == ""


def test_classify_imports_only_what_it_needs() -> None:
    """The command is to start in about a second; each of these would take half of it."""
    code = "import sys, flows.classify; print([name for name in ('pydantic', 'prefect', 'dbt', 'pyarrow') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert ran.stdout.strip() == "[]"
