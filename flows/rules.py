"""Compiles the rule seeds to SQL macros: what the models, `bouncehouse classify` and analysts judge replies with.

The seeds are data, and SQL is how they run: a regex that DuckDB sees as a constant is compiled once, so that one
expression over all rules decides hundreds of thousands of texts a second, where a join of texts to a rules table would
compile each pattern for each text.

Patterns are RE2, matched without regard to case, against the masked text.
"""

import csv
import hashlib
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import duckdb

RULES = "bounce_rules.csv"
REASONS = "bounce_reasons.csv"
ENHANCED_CODES = "enhanced_status_codes.csv"
PROVIDERS = "mailbox_providers.csv"
SEEDS = (RULES, REASONS, ENHANCED_CODES, PROVIDERS)
"""Files below `seeds/` that decide a judgement, in the order in which the rule set's digest takes them."""

EVIDENCE = ("text", "weak_text", "reply_code")
"""What a rule leans on. Specific enhanced codes are asked after text, generic ones after weak text."""

ALL_PROVIDERS = "all"
NO_RULE = "none"
UNDETERMINED = "undetermined"

LARGEST_GROUP = 1_200
"""Characters of regex asked at once. RE2 builds its automaton as it reads, within 8 MB: in groups of 5,000 it outgrows
them and is 100 times slower; in groups of 1,200 the least is built (measured with bench/classify.py)."""

LONGEST_REPLY = 8_000
"""Characters of a reply that are masked and judged: SMTP allows 512 bytes a line, and real replies have few lines."""


@dataclass(frozen=True)
class Rule:
    """One row of `bounce_rules.csv`, or of the code tables where they speak without a text."""

    rule_id: str
    priority: int
    evidence: str
    providers: tuple[str, ...]
    pattern: str
    code_pattern: str
    reason: str

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
    """All seeds, read and checked."""

    rules: tuple[Rule, ...]
    reasons: dict[str, bool]
    codes: tuple[EnhancedCode, ...]
    providers: tuple[dict[str, str], ...]

    def asked(self, evidence: str, provider: str = ALL_PROVIDERS) -> tuple[Rule, ...]:
        """The rules of one kind of evidence and one provider, in the order they are asked."""
        return tuple(rule for rule in self.rules if rule.evidence == evidence and provider in rule.providers)


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
    """Digest over the seeds and this module, which masks and orders them (16 hex digits): one version judges alike."""
    digest = hashlib.sha256()
    for name in SEEDS:
        content = (project_directory / "seeds" / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:16]


def install(connection: duckdb.DuckDBPyConnection, project_directory: Path, schema: str | None = None) -> None:
    """Creates or replaces the macros in `schema` of the connection's current database."""
    for statement in compile_macros(project_directory, schema):
        connection.execute(statement)


def compile_macros(project_directory: Path, schema: str | None = None) -> list[str]:
    """`create or replace macro` statements; no macro calls another, so they work from any attached database."""
    rule_set = read_rule_set(project_directory)
    prefix = f'"{schema}".' if schema else ""
    bodies = {
        "mask_recipient(reply, recipient)": masked_recipient("reply", "recipient"),
        "mask_reply(reply)": masked("reply"),
        "provider_of(mx_host, recipient_domain)": provided(rule_set, "mx_host", "recipient_domain"),
        "judge_reply(masked_reply, provider)": judged(rule_set, "masked_reply", "provider"),
        "classify_bounce(reply, mx_host)": classified(rule_set, "reply", "mx_host"),
    }
    return [f"create or replace macro {prefix}{signature} as {body}" for signature, body in bodies.items()]


def text(value: str) -> str:
    """A Python string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


# Masking

_LOCAL = r"[^\s<>()\[\]:;,\"@\x{ff20}\\]+"
# International addresses may use the full-width @ and the full stops of Chinese and Japanese.
_AT = r"[@\x{ff20}]"
_DOT = r"[.\x{3002}\x{ff0e}\x{ff61}]"
_LABEL = r"[\pL\pN\pM_](?:[\pL\pN\pM_-]*[\pL\pN\pM_])?"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\""
_NAMED = (
    r"dbl\.spamhaus|spamhaus|spamcop|sorbs|uribl|surbl|barracuda|cloudmark|senderscore|invaluement|abuseat"
    "|uceprotect|openspf"
)
_HEX = "[0-9A-Fa-f]{1,4}"
_IPV6 = (
    rf"(?:IPv6:)?(?:(?:{_HEX}:){{7}}{_HEX}|(?:{_HEX}:){{1,6}}(?::{_HEX}){{1,6}}(?::\d{{1,3}}(?:\.\d{{1,3}}){{3}})?"
    rf"|(?:{_HEX}:){{2,6}}:|::(?:ffff:)?\d{{1,3}}(?:\.\d{{1,3}}){{3}}|::{_HEX}(?::{_HEX}){{0,6}})"
)
_TOP_LEVEL = (
    "com|net|org|info|biz|edu|gov|mil|int|arpa|local|localdomain|internal|lan|corp|home|example|test|invalid|name|pro"
    "|mobi|asia|tel|travel|jobs|cat|aero|coop|museum|online|site|store|shop|app|dev|cloud|email|host|tech|xyz|top|club"
)
# A label in camel case is a vendor's code (RESOLVER.ADR.RecipientNotFound), not a host.
_HOST_LABEL = "(?:[a-z0-9_-]+|[A-Z0-9_-]+|[A-Z][a-z0-9_-]+)"
# A label in camel case is a vendor's code (RESOLVER.ADR.RecipientNotFound), not a host.
_HOST_LABEL = "(?:[a-z0-9_-]+|[A-Z0-9_-]+|[A-Z][a-z0-9_-]+)"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?(?: \([A-Z]{2,5}\))?"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
_ENHANCED = r"[245]\.\d{1,3}\.\d{1,3}"

MASKS: tuple[tuple[str, str], ...] = (
    # White space and control characters; Postfix and rsyslog write a tab as #011, Exim a line end as \n.
    (r"(?:[\s\p{Cc}\p{Cf}\p{Zs}\p{Zl}\p{Zp}]|#0(?:11|12|15)|\\r?\\n)+", " "),
    # The wrapping of the MTA that logged: DSN's type, Postfix's and Exim's "host said".
    (r"^ ?(?i:x-[a-z]+|smtp) ?; ?", ""),
    (r"^(?:[^<>]* )?host [^ ]+ (?:said|refused to talk to me): ", ""),
    (
        r"^(?:[^ ]+ )*?(?i:SMTP error from remote mail(?:er| server)) after [^<>]{0,60}(?:<[^<>]*>)?[^<>]{0,40}: "
        r"(?:host [^ ]+ \[[^\]]*\]: ?)?",
        "",
    ),
    # Replies of several lines, joined: 550-5.1.1 a 550 5.1.1 b.
    (rf"^ ?([245]\d\d)-(.*) [245]\d\d(?: {_ENHANCED})? ", r"\1 \2 "),
    (rf" [245]\d\d-(?:{_ENHANCED} ?|([^\d]))", r" \1"),
    (r"^ ?([245]\d\d)-", r"\1 "),
    # Addresses of pages. The name of a blocklist is what the reply says; the rest of its address varies.
    (
        rf"(?i)<?\b(?:https?|ftp)?(?::?/{{1,2}} ?)?(?:[\w-]+\.)*?({_NAMED})[\w-]*(?:\.[\w-]+)+[/?][^\s<>\"')\]]*>?",
        r"<URL:\1>",
    ),
    (rf"(?i)\b(?:[\w-]+\.)*?({_NAMED})[\w-]*(?:\.[a-z]{{2,6}})+\b", r"<DOMAIN:\1>"),
    (r"(?i)<?\b(?:https?|ftp): ?//? ?[^\s<>\"')\]]*[^\s<>\"')\].,;:!]>?", "<URL>"),
    (r"(?i)<?\b(?:[a-z0-9-]+\.)+[a-z]{2,12}/[^\s<>\"')\]@]*[^\s<>\"')\].,;:!@]>?", "<URL>"),
    # Mail addresses: quoted, in brackets, plain, encoded.
    (
        rf"<?(?:{_QUOTED}|{_LOCAL}){_AT}(?:\[[^\]\s]*\]|{_LABEL}(?:{_DOT}{_LABEL})*)>?",
        "<EMAIL>",
    ),
    (rf"<[^<>\s]*{_AT}[^<>]*>", "<EMAIL>"),
    (rf"\b{_LOCAL}%40{_LABEL}(?:\.{_LABEL})*", "<EMAIL>"),
    (rf"(?:{_LOCAL})?(?:<EMAIL>)+(?:{_LOCAL})?{_AT}[^\s<>]*", "<EMAIL>"),
    # Times before IPv6, which looks alike.
    (
        rf"(?i)\b(?:{_DAY},? )?(?:\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}|{_MONTH} {{1,2}}\d{{1,2}}|\d{{4}}[-/]\d\d[-/]\d\d)"
        rf"(?:[T ,]+{_CLOCK}{_ZONE})?(?: \d{{4}}\b)?",
        "<TIME>",
    ),
    (rf"\[?\b{_IPV6}\]:\d{{1,5}}\b", "<IP:PORT>"),
    (rf"\b{_IPV6}|::{_HEX}(?::{_HEX})*", "<IP>"),
    # The end of an address with its port looks like a clock: 198.51.100.10:25.
    (r"\[?\b\d{1,3}(?:\.\d{1,3}){3}\]?:\d{1,5}\b", "<IP:PORT>"),
    (rf"\b{_CLOCK}{_ZONE}\b", "<TIME>"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "<IP>"),
    # A host's name; two labels only with a known or a country's top level, so that "failed.Please" stays.
    (
        rf"\b(?:{_HOST_LABEL}\.)+(?:[a-z]{{2}}|[A-Z]{{2}}|xn--[a-z0-9-]+|(?i:{_TOP_LEVEL}))\b\.?"
        rf"|\b(?:[a-z0-9_-]+\.){{2,}}[a-z]{{2,}}\b|(?i:xn--[a-z0-9-]+)",
        "<DOMAIN>",
    ),
    # Session ids: Google's, then what a key announces, then tokens of letters and digits, then base64.
    (r"[\w-]+\.\d+ - gsmtp", "<ID> - gsmtp"),
    (r"(?i)\b((?:[a-z]{0,8}id|session|token|ref|reference|qp|tid|mta|sig)[=:])[^\s;,()<>\[\]]+", r"\1<ID>"),
    (r"[A-Za-z0-9+/]{20,}={1,2}(?:/[\w+/=-]*)?", "<ID>"),
    (
        "(?:"
        + "|".join(rf"\b[\w-]{{{before}}}\d[\w.+/=-]{{{8 - before},}}" for before in range(8))
        + r"|\b[\w-]{8,}\d[\w.+/=-]*)",
        "<ID>",
    ),
    # Numbers: long ones and fractions. Short ones are limits and vendors' own codes, which carry meaning; a
    # countdown shows in that it is not round.
    (r"(^|[\s(\[=:<,\"'/-])\d{4,}\b", r"\1<NUMBER>"),
    (r"(^|[\s(\[=:<,\"'/])-?\d+\.\d+($|[\s)\],;/%])", r"\1<NUMBER>\2"),
    (r"\b\d+[1-9]( ?(?:s|secs?|seconds?|ms)\b)", r"<NUMBER>\1"),
    (r"<ID>(?:[ /+=.-]?<(?:ID|NUMBER)>)+", "<ID>"),
    (r"^ +| +$", ""),
)
"""What varies in replies and what stands for it, applied in this order."""


def masked(reply: str) -> str:
    """SQL: the reply with what varies masked, white space collapsed, lines of one reply joined."""
    start = f"left({reply}, {LONGEST_REPLY})"
    # A reply cut at the limit loses its last word: half an address would not look like one.
    start = f"case when length({reply}) > {LONGEST_REPLY} then regexp_replace({start}, '\\S*$', '') else {reply} end"
    # A code repeated within the text (several lines, joined by the sender) says nothing new.
    first = f"regexp_extract({start}, '^[245]\\d\\d[ -]{_ENHANCED} ')"
    start = f"replace({start}, ' ' || {first}, ' ')"
    return reduce(
        lambda sql, mask: f"regexp_replace({sql}, {text(mask[0])}, {text(mask[1])}, 'g')",
        MASKS,
        start,
    )


def masked_recipient(reply: str, recipient: str) -> str:
    """SQL: the reply with the recipient's address as <EMAIL>, in whatever case it is quoted.

    The local part alone is masked where it stands in brackets or quotes, before `=` and the domain (VERP), or is
    distinct enough not to be a word of the reply: `user` in "no such user" stays.
    """
    local = f"split_part({recipient}, '@', 1)"
    domain = f"split_part({recipient}, '@', 2)"
    is_address = f"coalesce(strpos({recipient}, '@') > 1, false)"

    def known(needle: str, condition: str = is_address) -> str:
        # Where nothing is to be replaced the mask replaces itself: a CASE around each step doubles the expression.
        return f"case when {condition} then {needle} else '<EMAIL>' end"

    # A regex of its own for a row is slow, so only where the case differs.
    sql = (
        f"case when {is_address} and contains(lower({reply}), lower({recipient})) "
        f"and not contains({reply}, {recipient}) "
        f"then regexp_replace({reply}, '<?' || regexp_escape({recipient}) || '>?', '<EMAIL>', 'gi') else {reply} end"
    )
    needles = [
        known(f"'<' || {recipient} || '>'"),
        known(recipient),
        *(
            known(f"'{opening}' || {local} || '{closing}'")
            for opening, closing in (("<", ">"), ("''", "''"), ('"', '"'), ("(", ")"), ("[", "]"))
        ),
        known(f"{local} || '=' || {domain}"),
        known(
            local,
            f"{is_address} and length({local}) >= 5 "
            f"and regexp_matches({local}, '[0-9._]') and regexp_matches({local}, '[A-Za-z]')",
        ),
    ]
    return reduce(lambda sql, needle: f"replace({sql}, {needle}, '<EMAIL>')", needles, sql)


# Judging


def provided(rule_set: RuleSet, mx_host: str, recipient_domain: str) -> str:
    """SQL: the provider's id, by the MX host, else by the recipient's domain; NULL if neither tells."""

    def case(value: str, column: str) -> str:
        whens = " ".join(
            f"when regexp_matches({value}, {text('(?i)' + row[column])}) then {text(row['provider'])}"
            for row in rule_set.providers
            if row[column]
        )
        return f"case {whens} end"

    return f"coalesce({case(mx_host, 'mx_pattern')}, {case(recipient_domain, 'domain_pattern')})"


def judged(rule_set: RuleSet, masked_reply: str, provider: str) -> str:
    """SQL: STRUCT(rule_id, reason) for a masked reply."""
    answers: list[tuple[str, str]] = [(NO_RULE, UNDETERMINED)]

    def answer(rule_id: str, reason: str) -> int:
        answers.append((rule_id, reason))
        return len(answers)

    def decision(rules: tuple[Rule, ...]) -> str:
        return _decision(masked_reply, [(rule.regex, answer(rule.rule_id, rule.reason)) for rule in rules])

    def code_lookups(is_specific: bool) -> list[str]:
        codes = [code for code in rule_set.codes if code.is_specific is is_specific and code.reason != UNDETERMINED]
        entries = ", ".join(f"{text(code.code)}: {answer(f'code_x.{code.code}', code.reason)}" for code in codes)
        code = r"\b[245]\.(\d{1,3}\.\d{1,3})\b"
        first = f"regexp_extract({masked_reply}, '{code}', 1)"
        # The innermost reply is quoted last, so its code is asked first, where there is more than one.
        last = (
            f"case when regexp_matches({masked_reply}, '{code}.*{code}') "
            f"then regexp_extract({masked_reply}, '^.*{code}', 1) end"
        )
        return [f"map {{{entries}}}[{code}]" for code in (last, first)]

    stages = [
        f"case when {provider} = {text(name)} then {decision(rule_set.asked('text', name))} end"
        for name in dict.fromkeys(name for rule in rule_set.rules for name in rule.providers if name != ALL_PROVIDERS)
    ]
    stages.append(decision(rule_set.asked("text")))
    stages += code_lookups(is_specific=True)
    stages.append(decision(rule_set.asked("weak_text")))
    stages += code_lookups(is_specific=False)
    stages.append(decision(rule_set.asked("reply_code")))
    structs = ", ".join(f"{{'rule_id': {text(rule_id)}, 'reason': {text(reason)}}}" for rule_id, reason in answers)
    return f"[{structs}][coalesce({', '.join(stages)}, 1)]"


def _decision(value: str, leaves: list[tuple[str, int]]) -> str:
    """SQL: the number of the first leaf whose regex matches, NULL if none does.

    A regex of many alternatives costs hardly more than one of few, as long as its automaton is small. So leaves are
    asked by the group, and within the group that matched by halves.
    """

    def matches(group: list[tuple[str, int]]) -> str:
        return f"regexp_matches({value}, {text('(?is)' + '|'.join(regex for regex, _ in group))})"

    def found(group: list[tuple[str, int]]) -> str:
        if len(group) == 1:
            return str(group[0][1])
        first, second = group[: len(group) // 2], group[len(group) // 2 :]
        return f"case when {matches(first)} then {found(first)} else {found(second)} end"

    groups: list[list[tuple[str, int]]] = [[]]
    for leaf in leaves:
        if groups[-1] and sum(len(regex) for regex, _ in [*groups[-1], leaf]) > LARGEST_GROUP:
            groups.append([])
        groups[-1].append(leaf)
    whens = " ".join(f"when {matches(group)} then {found(group)}" for group in groups)
    return f"case {whens} end"


def classified(rule_set: RuleSet, reply: str, mx_host: str) -> str:
    """SQL: STRUCT(rule_id, reason, suppress, bounce_class) for a reply as received."""
    about = ", ".join(text(reason) for reason, is_about in rule_set.reasons.items() if is_about)
    class_digit = r"regexp_extract(masked_reply, '^[245](?:\d\d\b|\.\d{1,3}\.\d{1,3}\b)')[1]"
    return f"""(
        select {{
            'rule_id': judgement.rule_id,
            'reason': judgement.reason,
            'suppress': coalesce(class_digit = '5', false) and judgement.reason in ({about}),
            'bounce_class': case class_digit when '5' then 'hard' when '4' then 'soft' end
        }}
        from (
            select {judged(rule_set, "masked_reply", "provider")} as judgement, {class_digit} as class_digit
            from (select {masked(reply)} as masked_reply, {provided(rule_set, mx_host, "null::varchar")} as provider)
        )
    )"""
