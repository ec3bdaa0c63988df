"""`bouncehouse classify --compare`: what a change of the rules changes, before or after it is made.

Masked texts are judged twice in one query, by macros compiled from the old rules and by those of the project, so that
the comparison costs as many judgements as there are texts, however many events had them.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import duckdb

from flows.classify import Columns, OutputFormat, read_replies, write_header, write_row
from flows.problems import ActionableError, WrongUsageError
from flows.rules import RULES, SEEDS, install, read_rule_set
from flows.sql import text

REQUIRED = ("rule_id", "priority", "evidence", "provider", "pattern", "code_pattern", "reason")
"""Columns that every rules file had. One that came later is empty in an older file, and says nothing there."""

TEXT_COLUMNS: Columns = (
    ("old_reason", 17),
    ("new_reason", 17),
    ("old_rule_id", 30),
    ("new_rule_id", 30),
    ("event_count", 11),
    ("address_count", 13),
    ("bounce_text", 0),
)
ADDRESS_COLUMNS: Columns = (
    ("change", 6),
    ("old_reason", 17),
    ("new_reason", 17),
    ("old_rule_id", 30),
    ("new_rule_id", 30),
    ("address", 0),
)

_SERVER_OF = "mx_class_of"
"""The macro of (MX host, recipient domain) that gives `judge_reply` its second argument; each rule set has its own."""

# An event does not hold what the rules ask of its server: its MX host and recipient domain tell it.
_FIND_USES = f"""
    create table uses as
    select
        used.*, texts.bounce_text,
        old_rules.{_SERVER_OF}(used.mx_host, used.recipient_domain) as old_server,
        new_rules.{_SERVER_OF}(used.mx_host, used.recipient_domain) as new_server
    from (select distinct text_id, mx_host, recipient_domain from events) as used
    inner join published_texts as texts using (text_id)
"""

_JUDGE = """
    create table judgements as
    select
        bounce_text, old_server, new_server,
        old.reason as old_reason, new.reason as new_reason, old.rule_id as old_rule_id, new.rule_id as new_rule_id
    from (
        select
            *,
            old_rules.judge_reply(bounce_text, old_server) as old, new_rules.judge_reply(bounce_text, new_server) as new
        from (select distinct bounce_text, old_server, new_server from uses)
    )
"""

_SAME_JUDGEMENT = """
    uses.bounce_text = judgements.bounce_text
    and uses.old_server is not distinct from judgements.old_server
    and uses.new_server is not distinct from judgements.new_server
"""

_JUDGE_EVENTS = f"""
    create view judged_events as
    select
        events.*, judgements.bounce_text, judgements.old_reason, judgements.new_reason,
        judgements.old_rule_id, judgements.new_rule_id
    from events
    inner join uses
        on events.text_id = uses.text_id
        and events.mx_host is not distinct from uses.mx_host
        and events.recipient_domain is not distinct from uses.recipient_domain
    inner join judgements on {_SAME_JUDGEMENT}
"""

_FIND_CHANGED_TEXTS = """
    create table changed_texts as
    select
        bounce_text, old_reason, new_reason, old_rule_id, new_rule_id,
        count(*) as event_count, count(distinct recipient) as address_count,
        min_by(response_text, (event_at, event_id)) as sample_text
    from judged_events
    where old_reason <> new_reason
    group by bounce_text, old_reason, new_reason, old_rule_id, new_rule_id
"""

# An administrator's last word stands, unless it is a removal and a bounce that counts came later.
_FIND_CHANGED_ADDRESSES = """
    create table changed_addresses as
    with evidence as (
        select
            judged_events.*,
            coalesce(old_reason in (select reason from reasons), false) as is_old,
            coalesce(new_reason in (select reason from reasons), false) as is_new
        from judged_events
        left join published_addresses as addresses
            on judged_events.recipient = addresses.address
        where
            judged_events.event_type in ('bounced', 'out_of_band_bounce') and judged_events.bounce_class = 'hard'
            and judged_events.recipient in (select recipient from judged_events where old_reason <> new_reason)
            -- what was recovered or has expired counts under no rules
            and judged_events.event_id not in (
                select event_id from published_causes where event_id is not null and ends_at is not null
            )
            and (
                addresses.last_action is null
                or (addresses.last_action = 'remove' and judged_events.event_at > addresses.last_action_at)
            )
    )
    select
        recipient as address,
        case when bool_or(is_new) then 'enters' else 'leaves' end as change,
        min_by(
            {
                'old_reason': old_reason, 'new_reason': new_reason,
                'old_rule_id': old_rule_id, 'new_rule_id': new_rule_id
            },
            (event_at, event_id)
        ) filter (is_old <> is_new) as why
    from evidence
    group by recipient
    having bool_or(is_old) <> bool_or(is_new)
"""


@dataclass(frozen=True)
class Comparison:
    """How many texts there are, how many change their reason, and with how many events.

    The addresses are None where replies alone were compared, which do not say whose they are.
    """

    texts: int
    changed_texts: int
    changed_events: int
    entering: int | None = None
    leaving: int | None = None


def compare_published(
    database: Path, target: BinaryIO, project_directory: Path, old_rules: Path, output_format: OutputFormat
) -> Comparison:
    """Write which published texts change their reason from `old_rules` to the project's rules, by events, the most
    first; then the addresses that would come on the suppression list or leave it under policy `recipient`.

    The code tables and providers are today's on both sides. `WrongUsageError` for what is no rules file.
    """
    from flows.report import open_published

    with open_published(database):
        pass  # it says what is wrong where it cannot be opened
    with duckdb.connect() as connection:
        connection.execute(f"attach {text(database)} as published (read_only)")
        _install_both(connection, project_directory, old_rules)
        about = [reason for reason, is_about in read_rule_set(project_directory).reasons.items() if is_about]
        connection.execute("create table reasons as select unnest($reasons::varchar[]) as reason", {"reasons": about})
        try:
            connection.execute(
                """
                create view published_texts as select * from published.marts.dim_bounce_texts;
                create view published_addresses as select * from published.marts.ops_suppression_policy_addresses;
                create view published_causes as select * from published.marts.fct_suppression_causes;
                create view events as
                select * from published.marts.fct_delivery_events
                -- who was on a list already was not tried: no rule judged that
                where text_id is not null and reason <> 'suppressed';
                """
            )
            for statement in (_FIND_USES, _JUDGE, _JUDGE_EVENTS, _FIND_CHANGED_TEXTS, _FIND_CHANGED_ADDRESSES):
                connection.execute(statement)
        except duckdb.CatalogException as error:
            raise ActionableError(
                f"{database} was published by another version of bouncehouse: {str(error).splitlines()[0]}",
                "publish it anew: bouncehouse run",
            ) from error
        _write(
            connection.execute(
                "select * from changed_texts order by event_count desc, bounce_text, old_rule_id, new_rule_id"
            ),
            "text",
            target,
            TEXT_COLUMNS,
            output_format,
        )
        if output_format == "table":
            target.write(b"\n")
        _write(
            connection.execute("select change, address, unnest(why) from changed_addresses order by change, address"),
            "address",
            target,
            ADDRESS_COLUMNS,
            output_format,
        )
        row = connection.execute(
            """select
                (select count(distinct bounce_text) from judgements),
                (select count(distinct bounce_text) from changed_texts),
                (select coalesce(sum(event_count), 0)::bigint from changed_texts),
                (select count(*) from changed_addresses where change = 'enters'),
                (select count(*) from changed_addresses where change = 'leaves')"""
        ).fetchone()
    return Comparison(*(row or ()))


def compare_replies(
    source: BinaryIO, target: BinaryIO, project_directory: Path, old_rules: Path, output_format: OutputFormat
) -> Comparison:
    """Write which texts of the given replies (as for `classify`) change their reason, and how many replies they are."""
    with duckdb.connect() as connection:
        _install_both(connection, project_directory, old_rules)
        connection.execute(
            "create table uses (bounce_text varchar, old_server varchar, new_server varchar, sample_text varchar)"
        )
        for batch in read_replies(source):
            connection.execute(
                f"""insert into uses
                select
                    new_rules.mask_reply(reply),
                    old_rules.{_SERVER_OF}(mx_host, null), new_rules.{_SERVER_OF}(mx_host, null), reply
                from (select unnest($replies::varchar[]) as reply, unnest($mx_hosts::varchar[]) as mx_host)""",
                {"replies": [reply for _, reply, _ in batch], "mx_hosts": [mx_host for _, _, mx_host in batch]},
            )
        connection.execute(_JUDGE)
        connection.execute(
            f"""create table changed_texts as
            select
                uses.bounce_text, old_reason, new_reason, old_rule_id, new_rule_id,
                count(*) as event_count, null as address_count, min(sample_text) as sample_text
            from uses
            inner join judgements on {_SAME_JUDGEMENT}
            where old_reason <> new_reason
            group by all"""
        )
        _write(
            connection.execute(
                "select * from changed_texts order by event_count desc, bounce_text, old_rule_id, new_rule_id"
            ),
            "text",
            target,
            TEXT_COLUMNS,
            output_format,
        )
        row = connection.execute(
            """select
                (select count(distinct bounce_text) from judgements),
                (select count(distinct bounce_text) from changed_texts),
                (select coalesce(sum(event_count), 0)::bigint from changed_texts)"""
        ).fetchone()
    return Comparison(*(row or ()))


def _write(
    cursor: duckdb.DuckDBPyConnection, kind: str, target: BinaryIO, columns: Columns, output_format: OutputFormat
) -> None:
    names = [column[0] for column in cursor.description or []]
    if output_format == "table":
        write_header(target, columns)
    while rows := cursor.fetchmany(10_000):
        for row in rows:
            write_row(target, {"kind": kind, **dict(zip(names, row, strict=True))}, columns, output_format)
    target.flush()


def _install_both(connection: duckdb.DuckDBPyConnection, project_directory: Path, old_rules: Path) -> None:
    """The macros in the schemas `old_rules` and `new_rules`."""
    connection.execute("create schema old_rules; create schema new_rules")
    install(connection, project_directory, schema="new_rules")
    rows = _read_old(old_rules)
    for row in rows:
        for column in (name for name in row if name.endswith("pattern")):
            try:
                connection.execute("select regexp_matches('', ?)", [row[column]])
            except duckdb.Error as error:
                raise WrongUsageError(
                    f"{old_rules}, rule {row['rule_id']!r}: {column} does not compile"
                    f" ({str(error).partition(': ' + row[column])[0]}): {row[column]}",
                    "mend the pattern (RE2 syntax)",
                ) from error
    with _lay_out(rows, project_directory) as old_project:
        try:
            install(connection, old_project, schema="old_rules")
        except ValueError as error:
            raise WrongUsageError(
                str(error).replace(f"seeds/{RULES}", str(old_rules)),
                "give a rules file that the other seeds agree with",
            ) from error


@contextmanager
def _lay_out(rows: list[dict[str, str]], project_directory: Path) -> Iterator[Path]:
    """A project directory of the old rules and today's other seeds."""
    seeds = project_directory / "seeds"
    with (seeds / RULES).open(encoding="utf-8", newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    with TemporaryDirectory(prefix="bouncehouse-") as folder:
        (Path(folder) / "seeds").mkdir()
        for name in SEEDS:
            if name != RULES:
                (Path(folder) / "seeds" / name).write_bytes((seeds / name).read_bytes())
        with (Path(folder) / "seeds" / RULES).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        yield Path(folder)


def _read_old(path: Path) -> list[dict[str, str]]:
    """The rows of a rules file of any age; `WrongUsageError` names the file, the row and what is wrong with it."""
    remedy = f"give a {RULES} as it was, for instance by: git show REVISION:seeds/{RULES}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [column for column in REQUIRED if column not in (reader.fieldnames or [])]
            if missing:
                raise WrongUsageError(f"{path} is no rules file: it has no column {', '.join(missing)}", remedy)
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise WrongUsageError(
                        f"{path}, line {reader.line_num}: the row has not as many fields as the head", remedy
                    )
                if not row["priority"].isascii() or not row["priority"].isdigit():
                    raise WrongUsageError(
                        f"{path}, rule {row['rule_id']!r}: priority {row['priority']!r} is no whole number", remedy
                    )
                rows.append(row)
    except OSError as error:
        raise WrongUsageError(f"cannot read {path}: {error.strerror}", remedy) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise WrongUsageError(f"{path} is no rules file: {error}", remedy) from error
    if not rows:
        raise WrongUsageError(f"{path} holds no rule", remedy)
    return rows
