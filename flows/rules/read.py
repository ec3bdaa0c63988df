"""Reads the rule seeds, checks them, and tells one version of them from another."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

RULES = "bounce_rules.csv"
REASONS = "bounce_reasons.csv"
ENHANCED_CODES = "enhanced_status_codes.csv"
PROVIDERS = "mailbox_providers.csv"
SEEDS = (RULES, REASONS, ENHANCED_CODES, PROVIDERS)
"""Files below `seeds/` that decide a judgement, in the order in which the rule set's digest takes them."""

EVIDENCE = ("text", "weak_text", "reply_code")
"""What a rule leans on. Specific enhanced codes are asked after text, generic ones after weak text."""

ALL_PROVIDERS = "all"
UNDETERMINED = "undetermined"


@dataclass(frozen=True)
class Rule:
    """One row of `bounce_rules.csv`."""

    rule_id: str
    priority: int
    evidence: str
    providers: tuple[str, ...]
    mx_pattern: str
    pattern: str
    code_pattern: str
    reason: str

    @property
    def is_general(self) -> bool:
        """Whether the rule is asked whatever the recipient's server."""
        return self.providers == (ALL_PROVIDERS,) and not self.mx_pattern

    @property
    def regex(self) -> str:
        """The pattern that decides: the text's, after the code condition where the rule has one."""
        if not self.code_pattern:
            return self.pattern
        return rf"^(?:[245]\d\d )?(?:{self.code_pattern})\b" + (f".*(?:{self.pattern})" if self.pattern else "")


@dataclass(frozen=True)
class EnhancedCode:
    """What a code of RFC 3463 says where the text says nothing; `code` without its class: `1.1`."""

    code: str
    reason: str
    is_specific: bool


@dataclass(frozen=True)
class RuleSet:
    """All seeds, read and checked; rules in the order of their priority."""

    rules: tuple[Rule, ...]
    reasons: dict[str, bool]
    codes: tuple[EnhancedCode, ...]
    providers: tuple[dict[str, str], ...]

    def asked(self, evidence: str) -> tuple[Rule, ...]:
        """The rules of one kind of evidence that are asked of every reply, in the order they are asked."""
        return tuple(rule for rule in self.rules if rule.evidence == evidence and rule.is_general)

    @property
    def asked_of_some(self) -> tuple[Rule, ...]:
        """The rules limited to a provider or an MX pattern, in the order they are asked."""
        return tuple(rule for rule in self.rules if not rule.is_general)


def read_rule_set(project_directory: Path) -> RuleSet:
    """The seeds under `project_directory/seeds`, checked; a ValueError names file, row and what is wrong."""
    reasons = {row["reason"]: row["is_about_recipient"] == "true" for row in _read(project_directory, REASONS)}
    providers = tuple(_read(project_directory, PROVIDERS))
    known = {row["provider"] for row in providers} | {ALL_PROVIDERS}
    rules = []
    for row in _read(project_directory, RULES):
        where = f"seeds/{RULES}, rule {row['rule_id']!r}"
        rule = Rule(
            rule_id=row["rule_id"],
            priority=int(row["priority"]),
            evidence=row["evidence"],
            providers=tuple(row["provider"].split()),
            mx_pattern=row["mx_pattern"],
            pattern=row["pattern"],
            code_pattern=row["code_pattern"],
            reason=row["reason"],
        )
        if rule.reason not in reasons:
            raise ValueError(f"{where}: reason {rule.reason!r} is not in seeds/{REASONS}")
        if unknown := set(rule.providers) - known or ({"(none)"} if not rule.providers else set()):
            raise ValueError(f"{where}: provider {', '.join(sorted(unknown))} is not in seeds/{PROVIDERS}")
        if rule.evidence not in EVIDENCE:
            raise ValueError(f"{where}: evidence {rule.evidence!r} is none of {', '.join(EVIDENCE)}")
        if rule.evidence != "text" and not rule.is_general:
            raise ValueError(f"{where}: a rule for a provider or an MX pattern leans on evidence 'text'")
        if rule.evidence == "reply_code" and (rule.pattern or not rule.code_pattern):
            raise ValueError(f"{where}: a rule on the reply code has a code_pattern and no pattern")
        if rule.evidence != "reply_code" and not rule.pattern:
            raise ValueError(f"{where}: needs a pattern")
        rules.append(rule)
    codes = [
        EnhancedCode(row["enhanced_code"].removeprefix("x."), row["reason"], row["trust"] == "specific")
        for row in _read(project_directory, ENHANCED_CODES)
    ]
    for code in codes:
        if code.reason not in reasons:
            raise ValueError(
                f"seeds/{ENHANCED_CODES}, code x.{code.code}: reason {code.reason!r} is not in seeds/{REASONS}"
            )
    for key, values in (
        ("rule_id", [rule.rule_id for rule in rules]),
        ("priority", [str(rule.priority) for rule in rules]),
    ):
        if doubled := {value for value in values if values.count(value) > 1}:
            raise ValueError(f"seeds/{RULES}: {key} {', '.join(sorted(doubled))} is there more than once")
    return RuleSet(tuple(sorted(rules, key=lambda rule: rule.priority)), reasons, tuple(codes), providers)


def _read(project_directory: Path, name: str) -> list[dict[str, str]]:
    with (project_directory / "seeds" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rule_set_version(project_directory: Path) -> str:
    """Digest over the seeds and this package, which masks and orders them (16 hex digits): one version judges alike."""
    digest = hashlib.sha256()
    seeds = [project_directory / "seeds" / name for name in SEEDS]
    for path in [*seeds, *sorted(Path(__file__).parent.glob("*.py"))]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
