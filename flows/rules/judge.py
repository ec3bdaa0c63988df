"""Judging: one SQL expression that asks all rules of a masked reply, in the order of their evidence."""

from collections.abc import Iterator

from flows.rules.literals import required_literals
from flows.rules.mask import masked
from flows.rules.read import ALL_PROVIDERS, UNDETERMINED, Rule, RuleSet
from flows.sql import text

NO_RULE = "none"

LARGEST_GROUP = 1_200
"""Characters of regex asked at once. RE2 builds its automaton as it reads, within 8 MB: in groups of 5,000 it outgrows
them and is 100 times slower; in groups of 1,200 the least is built (measured with bench/classify.py)."""

LARGEST_GATE = 400
"""Literals asked at once, before the groups that need one of them. An automaton of plain words stays small, so many
fit in one; the more rules a gate stands before, the more texts pass it in vain (measured with bench/classify.py)."""


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


def _scopes(rule_set: RuleSet) -> dict[tuple[tuple[str, ...], str], str]:
    """A name for each limit that a rule has, (providers, MX pattern): the provider's, or the first such rule's."""
    scopes: dict[tuple[tuple[str, ...], str], str] = {}
    for rule in rule_set.asked_of_some:
        is_provider = len(rule.providers) == 1 and not rule.mx_pattern
        scopes.setdefault((rule.providers, rule.mx_pattern), rule.providers[0] if is_provider else rule.rule_id)
    return scopes


def mx_classified(rule_set: RuleSet, mx_host: str, recipient_domain: str) -> str:
    """SQL: the names of the limits of rules that a server is within, ` tencent qq_exmail `; NULL where no rule asks.

    Texts are judged by it, so that a text is judged once for all servers that no rule tells apart.
    """
    names = []
    for (providers, mx_pattern), name in _scopes(rule_set).items():
        conditions = []
        if providers != (ALL_PROVIDERS,):
            conditions.append(f"provider in ({', '.join(text(provider) for provider in providers)})")
        if mx_pattern:
            conditions.append(f"regexp_matches({mx_host}, {text('(?i)' + mx_pattern)})")
        names.append(f"case when {' and '.join(conditions)} then {text(name + ' ')} end")
    return (
        f"(select nullif(concat(' ', {', '.join(names)}), ' ') "
        f"from (select {provided(rule_set, mx_host, recipient_domain)} as provider))"
    )


def judged(rule_set: RuleSet, masked_reply: str, mx_class: str) -> str:
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

    scopes = _scopes(rule_set)
    asked_of_some = " ".join(
        f"when contains({mx_class}, {text(f' {scopes[(rule.providers, rule.mx_pattern)]} ')}) "
        f"and {_matches(masked_reply, [rule.regex])} then {answer(rule.rule_id, rule.reason)}"
        for rule in rule_set.asked_of_some
    )
    stages = [
        f"case when {mx_class} is not null then case {asked_of_some} end end",
        decision(rule_set.asked("text")),
        *code_lookups(is_specific=True),
        decision(rule_set.asked("weak_text")),
        *code_lookups(is_specific=False),
        decision(rule_set.asked("reply_code")),
    ]
    structs = ", ".join(f"{{'rule_id': {text(rule_id)}, 'reason': {text(reason)}}}" for rule_id, reason in answers)
    return f"[{structs}][coalesce({', '.join(stages)}, 1)]"


def _matches(value: str, regexes: list[str]) -> str:
    return f"regexp_matches({value}, {text('(?is)' + '|'.join(regexes))})"


def _decision(value: str, leaves: list[tuple[str, int]]) -> str:
    """SQL: the number of the first leaf whose regex matches, NULL if none does.

    A regex of many alternatives costs hardly more than one of few, as long as its automaton is small. So leaves are
    asked by the group, and within the group that matched by halves; and groups only of texts that hold one of the
    words without which none of their leaves can match.
    """

    def found(group: list[tuple[str, int]]) -> str:
        if len(group) == 1:
            return str(group[0][1])
        first, second = group[: len(group) // 2], group[len(group) // 2 :]
        return (
            f"case when {_matches(value, [regex for regex, _ in first])} then {found(first)} else {found(second)} end"
        )

    gates: list[tuple[set[str] | None, list[str]]] = []
    for group in _groups(leaves):
        when = f"when {_matches(value, [regex for regex, _ in group])} then {found(group)}"
        needed = [required_literals(regex) for regex, _ in group]
        literals = None if None in needed else set().union(*(words for words in needed if words))
        if literals and gates and gates[-1][0] and len(gates[-1][0] | literals) <= LARGEST_GATE:
            gates[-1][0].update(literals)
            gates[-1][1].append(when)
        else:
            gates.append((literals, [when]))
    decisions = [
        f"case {' '.join(whens)} end"
        if literals is None
        else f"case when {_matches(value, _escaped(literals))} then case {' '.join(whens)} end end"
        for literals, whens in gates
    ]
    return f"coalesce({', '.join(decisions)}, null)"


def _groups(leaves: list[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    group: list[tuple[str, int]] = []
    for leaf in leaves:
        if group and sum(len(regex) for regex, _ in [*group, leaf]) > LARGEST_GROUP:
            yield group
            group = []
        group.append(leaf)
    yield group


def _escaped(literals: set[str]) -> list[str]:
    # Sorted, so that RE2 folds common beginnings.
    return [
        "".join(rf"\x{{{ord(letter):x}}}" if not letter.isalnum() else letter for letter in word)
        for word in sorted(literals)
    ]


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
            select {judged(rule_set, "masked_reply", "mx_class")} as judgement, {class_digit} as class_digit
            from (
                select
                    {masked(reply)} as masked_reply,
                    {mx_classified(rule_set, mx_host, "null::varchar")} as mx_class
            )
        )
    )"""
