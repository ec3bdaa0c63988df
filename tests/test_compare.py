"""What is not known is said, the policies stand side by side, and a change of the rules shows what it changes."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from flows import build, classify, compare
from flows.problems import ActionableError, WrongUsageError
from flows.publish import publish
from flows.settings import Settings
from flows.suppression.actions import write_action
from tests import marts
from tests.conftest import PROJECT, Warehouse, run_all
from tests.test_cli import run_command

pytestmark = pytest.mark.xdist_group("warehouse")

# Ada and Bob are unknown; Cleo's and Dora's servers use words nobody knows; Emil was blocklisted and got mail the next
# day; Finn was blocklisted, then unknown; Gina is unknown, and so is Hans, twice: Eve took both off the list since.
# Ivy's server uses words nobody knows too, before it says that she is gone.
EVENTS = """event_at,event_type,recipient,mx_host,smtp_code,response_text
2026-03-02T08:00:00Z,bounced,ada@a.example,mx.a.example,550,550 5.1.1 <ada@a.example>: user unknown
2026-03-02T08:00:00Z,bounced,bob@gmail.com,aspmx.l.google.com,550,550 5.1.1 <bob@gmail.com>: user unknown
2026-03-02T08:00:00Z,bounced,cleo@c.example,mx.c.example,550,550 xyzzy plugh says grue
2026-03-03T08:00:00Z,bounced,dora@gmail.com,aspmx.l.google.com,550,550 xyzzy plugh says grue
2026-03-02T08:00:00Z,bounced,emil@e.example,mx.e.example,554,554 5.7.1 listed on a blocklist
2026-03-03T08:00:00Z,delivered,emil@e.example,mx.e.example,250,250 ok
2026-03-02T08:00:00Z,bounced,finn@f.example,mx.f.example,554,554 5.7.1 listed on a blocklist
2026-03-03T08:00:00Z,bounced,finn@f.example,mx.f.example,550,550 5.1.1 <finn@f.example>: user unknown
2026-03-02T08:00:00Z,bounced,gina@g.example,mx.g.example,550,550 5.1.1 <gina@g.example>: user unknown
2026-03-02T08:00:00Z,bounced,hans@h.example,mx.h.example,550,550 5.1.1 <hans@h.example>: user unknown
2026-03-02T08:00:00Z,bounced,ivy@i.example,mx.i.example,550,550 xyzzy plugh says grue
2026-03-03T08:00:00Z,bounced,ivy@i.example,mx.i.example,550,550 5.2.1 mailbox disabled
2026-03-04T08:00:00Z,bounced,hans@h.example,mx.h.example,550,550 5.1.1 <hans@h.example>: user unknown
"""


@pytest.fixture(scope="module")
def known_little(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Built under policy `recipient`."""
    home = tmp_path_factory.mktemp("known-little")
    (home / "inbox/events").mkdir(parents=True)
    (home / "inbox/events/events.csv").write_text(EVENTS)
    settings = Settings(home=home, suppression_policy="recipient")
    for address in ("gina@g.example", "hans@h.example"):
        write_action(settings, "remove", address, by="eve", reason="asked")
    return run_all(settings)


def test_undetermined_bounces_are_a_warning_that_stops_nothing(known_little: Warehouse) -> None:
    (warning,) = known_little.result.warnings
    assert warning == (
        "3 of 12 bounces of the last 30 days (25.0%) are undetermined, more than 5.0%:"
        " marts.ops_unclassified_texts has the texts that want a rule"
    )
    assert marts.read(
        known_little.database,
        """select bounce_text, provider, evidence, bounce_count, round(bounce_share, 3), sample_text
        from marts.ops_unclassified_texts order by provider""",
    ) == [
        ("550 xyzzy plugh says grue", "google", "none", 1, 0.083, "550 xyzzy plugh says grue"),
        ("550 xyzzy plugh says grue", "other", "none", 2, 0.167, "550 xyzzy plugh says grue"),
    ]


def test_unclassified_texts_are_all_undetermined_bounces(warehouse: Warehouse, known_little: Warehouse) -> None:
    for home in (warehouse, known_little):
        (row,) = marts.read(
            home.database,
            """select
                (select coalesce(sum(bounce_count), 0) from marts.ops_unclassified_texts where reason = 'undetermined'),
                (select count(*) from marts.fct_bounces where reason = 'undetermined')""",
        )
        assert row[0] == row[1]


def test_texts_name_the_rules_that_judged_them(known_little: Warehouse) -> None:
    (row,) = marts.read(
        known_little.database,
        """select
            (select list(distinct rule_set_version) from marts.dim_bounce_texts),
            (select list(distinct rule_set_version) from marts.fct_suppression_events where event_id is not null),
            (select [rule_set_version] from marts.ops_publication)""",
    )
    assert row[0] == row[1] == row[2]


def test_policies_stand_side_by_side(known_little: Warehouse) -> None:
    assert marts.read(
        known_little.database,
        """select smtp_5xx_verdict, recipient_verdict, reason, address_count, hard_bounce_count,
            delivered_after_address_count
        from marts.ops_suppression_policies order by all""",
    ) == [
        ("removed", "removed", "user_unknown", 2, 3, 0),
        ("suppress", "keep", "spam_block", 1, 1, 1),
        ("suppress", "keep", "undetermined", 2, 2, 0),
        ("suppress", "suppress", "mailbox_inactive", 1, 2, 0),
        ("suppress", "suppress", "user_unknown", 3, 4, 0),
    ]


@pytest.mark.long
def test_both_policies_are_told_alike_whichever_is_in_force(known_little: Warehouse) -> None:
    """And either equals the list it makes: dbt's own test of that runs with each build."""
    query = "select * from marts.ops_suppression_policy_addresses order by address"
    under_recipient = marts.read(known_little.database, query)
    home = Settings(home=known_little.settings.root, suppression_policy="smtp_5xx")
    build.build(home)
    publish(home)
    assert marts.read(known_little.database, query) == under_recipient
    assert marts.read(known_little.database, "select count(*) from marts.dim_suppressed_addresses") == [(7,)]


def test_the_statements_of_the_docs_run(warehouse: Warehouse, known_little: Warehouse) -> None:
    statements = re.findall(r"```sql\n(.*?)```", (PROJECT / "docs/classification.md").read_text(), re.DOTALL)
    assert len(statements) == 6
    for statement in statements:
        rows = marts.read(warehouse.database, statement) + marts.read(known_little.database, statement)
        assert rows, statement


def read_rules() -> list[dict[str, str]]:
    with (PROJECT / "seeds/bounce_rules.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rules(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = compare.REQUIRED) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def compared(
    database: Path, old_rules: Path, output_format: classify.OutputFormat = "jsonl"
) -> tuple[compare.Comparison, str]:
    output = io.BytesIO()
    comparison = compare.compare_published(database, output, PROJECT, old_rules, output_format)
    return comparison, output.getvalue().decode()


def test_rules_compared_with_themselves_change_nothing(warehouse: Warehouse) -> None:
    comparison, said = compared(warehouse.database, PROJECT / "seeds/bounce_rules.csv")
    assert comparison.texts > 50
    assert (comparison.changed_texts, comparison.changed_events, comparison.entering, comparison.leaving) == (
        0,
        0,
        0,
        0,
    )
    assert said == ""


def test_a_comparison_tells_texts_events_and_addresses(known_little: Warehouse, tmp_path: Path) -> None:
    """By the old rules "grue" meant an unknown user, and 5.1.1 with "user unknown" a full mailbox."""
    rows = [row | {"reason": "mailbox_full"} if row["rule_id"] == "user_unknown" else row for row in read_rules()]
    grue = rows[0] | {"rule_id": "grue", "priority": "1", "evidence": "text", "provider": "all", "pattern": "says grue",
                      "code_pattern": "", "reason": "user_unknown"}  # fmt: skip
    old_rules = write_rules(tmp_path / "old.csv", [grue, *rows])
    comparison, said = compared(known_little.database, old_rules)
    lines = [json.loads(line) for line in said.splitlines()]
    texts = {line["bounce_text"]: line for line in lines if line["kind"] == "text"}
    assert {text: (line["old_reason"], line["new_reason"], line["event_count"], line["address_count"])
            for text, line in texts.items()} == {
        "550 5.1.1 <EMAIL>: user unknown": ("mailbox_full", "user_unknown", 6, 5),
        "550 xyzzy plugh says grue": ("user_unknown", "undetermined", 3, 3),
    }  # fmt: skip
    assert texts["550 xyzzy plugh says grue"]["old_rule_id"] == "grue"
    # Gina and Hans were taken off by hand after they bounced, whatever the rules say; Ivy is on the list either way
    assert [(line["change"], line["address"]) for line in lines if line["kind"] == "address"] == [
        ("enters", "ada@a.example"), ("enters", "bob@gmail.com"), ("enters", "finn@f.example"),
        ("leaves", "cleo@c.example"), ("leaves", "dora@gmail.com"),
    ]  # fmt: skip
    assert comparison == compare.Comparison(texts=4, changed_texts=2, changed_events=9, entering=3, leaving=2)
    _, table = compared(known_little.database, old_rules, "table")
    assert [line.split()[0] for line in table.splitlines() if line] == [
        "old_reason", "mailbox_full", "user_unknown", "change", *["enters"] * 3, *["leaves"] * 2
    ]  # fmt: skip


def test_the_command_compares_given_replies(tmp_path: Path) -> None:
    rows = [row for row in read_rules() if row["rule_id"] != "mailbox_full"]
    old_rules = write_rules(tmp_path / "old.csv", rows)
    replies = b'{"text": "452 4.3.1 mailbox full"}\n{"text": "550 x"}\n{"text": "452 4.3.1 mailbox  full"}\n'
    ran = run_command("classify", "-", "--compare", old_rules, input=replies)
    assert ran.returncode == 0
    assert ran.stderr.decode().strip() == "1 of 2 texts change their reason, of 2 replies"
    (line,) = ran.stdout.decode().splitlines()
    answer = json.loads(line)
    assert (answer["new_reason"], answer["new_rule_id"], answer["event_count"]) == ("mailbox_full", "mailbox_full", 2)
    assert answer["old_reason"] != "mailbox_full"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no column rule_id, priority"),
        (b"a,b\n1,2\n", "has no column rule_id, priority, evidence, provider, pattern, code_pattern, reason"),
        (b"\x00\xff\xfe\x81", "is no rules file"),
        (",".join(compare.REQUIRED).encode() + b"\n", "holds no rule"),
        (",".join(compare.REQUIRED).encode() + b"\nx,10,text\n", "line 2: the row has not as many fields"),
        (",".join(compare.REQUIRED).encode() + b"\nx,first,text,all,a,,mailbox_full\n", "'x': priority 'first'"),
        (
            ",".join(compare.REQUIRED).encode() + b"\nx,1,text,all,a(b,,mailbox_full\n",
            r"'x': pattern does not compile .*: a\(b$",
        ),
        (
            ",".join(compare.REQUIRED).encode() + b"\nx,1,text,all,a,,no_reason\n",
            "old.csv, rule 'x': reason 'no_reason'",
        ),
    ],
)
def test_what_is_no_rules_file_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    old_rules = tmp_path / "old.csv"
    old_rules.write_bytes(content)
    with pytest.raises(WrongUsageError) as refused:
        compare.compare_replies(io.BytesIO(b"550 x"), io.BytesIO(), PROJECT, old_rules, "jsonl")
    assert refused.match(f"(?m){said}")
    assert str(old_rules) in refused.value.cause


def test_a_comparison_needs_a_publication(tmp_path: Path) -> None:
    with pytest.raises(ActionableError, match="nothing is published yet"):
        compared(tmp_path / "bouncehouse.duckdb", PROJECT / "seeds/bounce_rules.csv")
