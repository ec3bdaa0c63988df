"""Which words a text must hold for a regex to match: asked first, they spare most regexes (as in RE2's FilteredRE2)."""

import re
import re._constants as nodes  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import string
from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import Any

MOST_WORDS = 40
"""Alternatives of one stretch of a regex that are spelled out."""

SHORTEST_WORD = 3
"""Bytes: what is shorter is in too many texts."""

COMMON_WORDS = frozenset(
    re.findall(
        r"\S+",
        "message messages mail email e-mail address recipient recipients user account mailbox domain host server "
        "sender from service name list your our this the not does is are was for has have with been no than client "
        "connection reject rejected refused denied block blocked access exceed exceeded limit size unknown invalid "
        "found exist unavailable fail failed error time <ip> <ip>] please 5.7.1",
    )
)
"""Words that every other reply has, whatever it means: the last to be asked for."""


@cache
def required_literals(regex: str) -> frozenset[str] | None:
    """Lower-case words of which every match of the regex (without regard to case) holds at least one.

    None where no such words are known (as in syntax that Python does not share with RE2): then the regex must be
    asked of every text.
    """
    try:
        words = _best([_needed(parser.parse(regex))])
    except re.error:
        return None
    return None if words is None else frozenset(words)


def _best(candidates: Iterable[set[str] | None]) -> set[str] | None:
    """The candidate with the fewest common words, then the fewest words."""
    return min(
        (words for words in candidates if words and all(len(word.encode()) >= SHORTEST_WORD for word in words)),
        key=lambda words: (sum(word.strip() in COMMON_WORDS for word in words), len(words)),
        default=None,
    )


def _needed(sequence: Any) -> set[str] | None:
    """The best choice among the stretches of a concatenation."""
    candidates: list[set[str] | None] = []
    stretch = {""}
    for operator, argument in sequence:
        exact = _exact([(operator, argument)])
        if exact is not None and len(longer := _joined(stretch, exact)) <= MOST_WORDS:
            stretch = longer
            continue
        if operator is nodes.SUBPATTERN:
            candidates.append(_needed(argument[3]))
        elif operator is nodes.BRANCH:
            branches = [_needed(branch) for branch in argument[1]]
            candidates.append(None if None in branches else set().union(*(words for words in branches if words)))
        elif operator in (nodes.MAX_REPEAT, nodes.MIN_REPEAT) and argument[0] > 0:
            candidates.append(_needed(argument[2]))
            once = _exact(argument[2])
            if once is not None and len(longer := _joined(stretch, once)) <= MOST_WORDS:
                stretch = longer
        candidates.append(stretch)
        stretch = {""}
    return _best([*candidates, stretch])


def _exact(sequence: Any) -> set[str] | None:
    """All texts that the sequence can match, if they are few; conditions without width match the empty one."""
    texts = {""}
    for operator, argument in sequence:
        part: set[str] | None = None
        if operator is nodes.LITERAL:
            part = {chr(argument).lower()}
        elif operator is nodes.AT:
            part = {""}
        elif operator is nodes.IN:
            part = _characters(argument)
        elif operator is nodes.BRANCH:
            branches = [_exact(branch) for branch in argument[1]]
            part = None if None in branches else set().union(*(words for words in branches if words is not None))
        elif operator is nodes.SUBPATTERN:
            part = _exact(argument[3])
        elif operator in (nodes.MAX_REPEAT, nodes.MIN_REPEAT) and argument[:2] == (0, 1):
            part = _exact(argument[2])
            part = None if part is None else part | {""}
        if part is None:
            return None
        texts = _joined(texts, part)
        if len(texts) > MOST_WORDS:
            return None
    return texts


def _joined(beginnings: set[str], ends: set[str]) -> set[str]:
    return {beginning + end for beginning, end in product(beginnings, ends)}


def _characters(items: Any) -> set[str] | None:
    characters: set[str] = set()
    for kind, value in items:
        if kind is nodes.LITERAL:
            characters.add(chr(value).lower())
        elif kind is nodes.RANGE and value[1] - value[0] < MOST_WORDS:
            characters.update(chr(letter).lower() for letter in range(value[0], value[1] + 1))
        elif kind is nodes.CATEGORY and value is nodes.CATEGORY_DIGIT:
            characters.update(string.digits)
        else:
            return None
    return characters
