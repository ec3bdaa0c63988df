"""Compiles the rule seeds to SQL macros: what the models, `bouncehouse classify` and analysts judge replies with.

The seeds are data, and SQL is how they run: a regex that DuckDB sees as a constant is compiled once, so that one
expression over all rules decides hundreds of thousands of texts a second, where a join of texts to a rules table would
compile each pattern for each text.

Patterns are RE2, matched without regard to case, against the masked text.
"""

from functools import lru_cache
from pathlib import Path

import duckdb

from flows.rules.judge import classified, judged, mx_classified, provided
from flows.rules.mask import LONGEST_REPLY, masked, masked_recipient
from flows.rules.read import RULES, SEEDS, RuleSet, read_rule_set, rule_set_version

__all__ = [
    "LONGEST_REPLY",
    "RULES",
    "SEEDS",
    "RuleSet",
    "compile_macros",
    "install",
    "read_rule_set",
    "rule_set_version",
]


def install(connection: duckdb.DuckDBPyConnection, project_directory: Path, schema: str | None = None) -> None:
    """Creates or replaces the macros in `schema` of the connection's current database."""
    for statement in compile_macros(project_directory, schema):
        connection.execute(statement)


def compile_macros(project_directory: Path, schema: str | None = None) -> list[str]:
    """`create or replace macro` statements; no macro calls another, so they work from any attached database."""
    prefix = f'"{schema}".' if schema else ""
    bodies = _write_bodies(project_directory, rule_set_version(project_directory))
    return [f"create or replace macro {prefix}{signature} as {body}" for signature, body in bodies.items()]


@lru_cache(maxsize=2)
def _write_bodies(project_directory: Path, version: str) -> dict[str, str]:
    """The macros' SQL by their signatures; a quarter of a second, which build and publication of a run share."""
    rule_set = read_rule_set(project_directory)
    return {
        "mask_recipient(reply, recipient)": masked_recipient("reply", "recipient"),
        "mask_reply(reply)": masked("reply"),
        "provider_of(mx_host, recipient_domain)": provided(rule_set, "mx_host", "recipient_domain"),
        "mx_class_of(mx_host, recipient_domain)": mx_classified(rule_set, "mx_host", "recipient_domain"),
        "judge_reply(masked_reply, mx_class)": judged(rule_set, "masked_reply", "mx_class"),
        "classify_bounce(reply, mx_host)": classified(rule_set, "reply", "mx_host"),
    }
