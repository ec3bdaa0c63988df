"""Masking: what varies in replies, and what stands for it; so that replies which mean the same are one text."""

from dataclasses import dataclass
from functools import reduce

from flows.sql import text

LONGEST_REPLY = 8_000
"""Characters of a reply that are masked and judged: SMTP allows 512 bytes a line, and real replies have few lines."""


_LOCAL = r"[^\s<>()\[\]:;,\"@\x{ff20}\\]+"
# International addresses may use the full-width @ and the full stops of Chinese and Japanese.
_AT = r"[@\x{ff20}]"
_DOT = r"[.\x{3002}\x{ff0e}\x{ff61}]"
_LABEL = r"[\pL\pN\pM_](?:[\pL\pN\pM_-]*[\pL\pN\pM_])?"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\""
_NAMED = (
    r"dbl\.spamhaus|spamhaus|spamcop|sorbs|uribl|surbl|barracuda|cloudmark|senderscore|invaluement|abuseat"
    "|uceprotect|openspf|ipcheck"
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
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?(?: \([A-Z]{2,5}\))?"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
_ENHANCED = r"[245]\.\d{1,3}\.\d{1,3}"

_SPECIAL_SPACE = (
    r"[\t-\r\p{Cc}\p{Cf}\p{Zl}\p{Zp}\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]|#0(?:11|12|15)|\\r?\\n"
)


@dataclass(frozen=True)
class Mask:
    """A pattern and what stands for it; `needs`, SQL over `masked`, is a cheap test that any match passes."""

    pattern: str
    replacement: str
    needs: str = ""


def _contains(*needles: str) -> str:
    return " or ".join(f"contains(masked, {text(needle)})" for needle in needles)


_HAS_AT = _contains("@", "\uff20", "%40")
_HAS_IPV4 = r"regexp_matches(masked, '\d\.\d{1,3}\.\d{1,3}\.\d')"

MASKS: tuple[tuple[Mask, ...], ...] = (
    # White space and control characters; Postfix and rsyslog write a tab as #011, Exim a line end as \n.
    (Mask(rf"(?: *(?:{_SPECIAL_SPACE})|  )(?: |{_SPECIAL_SPACE})*", " "),),
    # The wrapping of the MTA that logged: DSN's type, Postfix's and Exim's "host said".
    (Mask(r"^ ?(?i:x-[a-z]+|smtp) ?; ?", "", _contains(";")),),
    (
        Mask(
            r"^(?:<[^<>]*>:? )?(?:[^<>]* )?host [^ ]+ (?:said|refused to talk to me): ",
            "",
            _contains(" said: ", " talk to me: "),
        ),
    ),
    (
        Mask(
            r"^(?:[^ ]+ )*?(?i:SMTP error from remote mail(?:er| server)) after [^<>]{0,60}(?:<[^<>]*>)?[^<>]{0,40}: "
            r"(?:host [^ ]+ \[[^\]]*\]: ?)?",
            "",
            _contains("rror from remote"),
        ),
    ),
    # A reply within a reply: Exchange, Microsoft 365, Google, qmail, Cisco. The innermost says why.
    (
        Mask(
            r"(?i)^.*(?:remote server returned .*-> ?"
            r"|remote server returned [ '\"<#]*(?:[245]\.\d+\.\d+ )?(?:smtp ?; ?)?"
            r"|(?:response|error) (?:from|that) the (?:remote|other) server (?:was|returned was):? ?"
            r"|remote[ _]host[ _]said: ?|^[245]\.[\dx]\.\d+ - [^'\"]*)([245]\d\d)[ -]['\"]?",
            r"\1 ",
            _contains("emote ", "ther server", " - "),
        ),
    ),
    # The session that Sendmail shows: what the server answered first is the cause of what followed.
    (Mask(r"^.*?<<< ([245]\d\d)[ -]", r"\1 ", _contains("<<< ")),),
    # Replies of several lines, joined: 550-5.1.1 a 550 5.1.1 b.
    (
        Mask(rf"^ ?([245]\d\d)-(.*) [245]\d\d(?: {_ENHANCED})? ", r"\1 \2 ", _contains("-")),
        Mask(rf" [245]\d\d-(?:{_ENHANCED} ?|([^\d]))", r" \1"),
        Mask(r"^ ?([245]\d\d)-", r"\1 "),
    ),
    # Addresses of pages. The name of a blocklist is what the reply says; the rest of its address varies.
    (
        Mask(
            rf"(?i)<?\b(?:https?|ftp)?(?::?/{{1,2}} ?)?(?:[\w-]+\.)*?({_NAMED})[\w-]*(?:\.[\w-]+)+[/?][^\s<>\"')\]]*>?",
            r"<URL:\1>",
            f"regexp_matches(masked, '(?i){_NAMED}')",
        ),
        Mask(rf"(?i)\b(?:[\w-]+\.)*?({_NAMED})[\w-]*(?:\.[a-z]{{2,6}})+\b", r"<DOMAIN:\1>"),
    ),
    (
        Mask(r"(?i)<?\b(?:https?|ftp): ?//? ?[^\s<>\"')\]]*[^\s<>\"')\].,;:!]>?", "<URL>", _contains("/")),
        Mask(r"(?i)<?\b(?:[a-z0-9-]+\.)+[a-z]{2,12}/[^\s<>\"')\]@]*[^\s<>\"')\].,;:!@]>?", "<URL>"),
    ),
    # Mail addresses: quoted, in brackets, plain, encoded; a local part may look like a page's address.
    (
        Mask(
            rf"<?(?:{_QUOTED}|(?:<URL>|{_LOCAL})+){_AT}(?:\[[^\]\s]*\]|{_LABEL}(?:{_DOT}{_LABEL})*)>?",
            "<EMAIL>",
            _HAS_AT,
        ),
        Mask(rf"<[^<>\s]*{_AT}[^<>]*>", "<EMAIL>"),
        Mask(rf"\b{_LOCAL}%40{_LABEL}(?:\.{_LABEL})*", "<EMAIL>"),
        Mask(rf"(?:{_LOCAL})?(?:<EMAIL>)+(?:{_LOCAL})?{_AT}[^\s<>]*", "<EMAIL>"),
    ),
    # Times before IPv6, which looks alike.
    (
        Mask(
            rf"(?i)\b(?:{_DAY},? )?"
            rf"(?:\d{{1,2}}[ -]{_MONTH}[ -]\d{{4}}|{_MONTH} {{1,2}}\d{{1,2}}|\d{{4}}[-/]\d\d[-/]\d\d)"
            rf"(?:[T ,]+{_CLOCK}{_ZONE})?(?: \d{{4}}\b)?",
            "<TIME>",
        ),
    ),
    (
        Mask(rf"\[?\b{_IPV6}\]:\d{{1,5}}\b", "<IP:PORT>", _contains(":")),
        Mask(rf"\b{_IPV6}|::{_HEX}(?::{_HEX})*", "<IP>"),
        # The end of an address with its port looks like a clock: 198.51.100.10:25.
        Mask(r"\[?\b\d{1,3}(?:\.\d{1,3}){3}\]?:\d{1,5}\b", "<IP:PORT>"),
        Mask(rf"\b{_CLOCK}{_ZONE}\b", "<TIME>"),
    ),
    (Mask(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "<IP>", _HAS_IPV4),),
    # A host's name; two labels only with a known or a country's top level, so that "failed.Please" stays.
    (
        Mask(
            rf"\b(?:{_HOST_LABEL}\.)+(?:[a-z]{{2}}|[A-Z]{{2}}|xn--[a-z0-9-]+|(?i:{_TOP_LEVEL}))\b\.?"
            rf"|\b(?:[a-z0-9_-]+\.){{2,}}[a-z]{{2,}}\b|(?i:xn--[a-z0-9-]+)",
            "<DOMAIN>",
            _contains(".", "n--", "N--"),
        ),
    ),
    # Session ids: Google's, then what a key announces, then tokens of letters and digits, then base64.
    (Mask(r"[\w-]+\.\d+ - gsmtp", "<ID> - gsmtp", _contains(" - gsmtp")),),
    (
        Mask(
            r"(?i)\b((?:[a-z]{0,8}id|session|token|ref|reference|qp|tid|mta|sig)[=:])[^\s;,()<>\[\]]+",
            r"\1<ID>",
            _contains("=", ":"),
        ),
        Mask(r"[A-Za-z0-9+/]{20,}={1,2}(?:/[\w+/=-]*)?", "<ID>"),
    ),
    (
        Mask(
            "(?:"
            + "|".join(rf"\b[\w-]{{{before}}}\d[\w.+/=-]{{{8 - before},}}" for before in range(8))
            + r"|\b[\w-]{8,}\d[\w.+/=-]*)",
            "<ID>",
        ),
    ),
    # Numbers: long ones and fractions. Short ones are limits and vendors' own codes, which carry meaning; a
    # countdown shows in that it is not round.
    (
        Mask(
            r"(^|[\s(\[=:<,\"'/-])\d{4,}\b",
            r"\1<NUMBER>",
            r"regexp_matches(masked, '\d{4}|[\s(\[=:<,\"''/]-?\d+\.\d|[1-9] ?[sm]')",
        ),
        Mask(r"(^|[\s(\[=:<,\"'/])-?\d+\.\d+($|[\s)\],;/%])", r"\1<NUMBER>\2"),
        Mask(r"\b\d+[1-9]( ?(?:s|secs?|seconds?|ms)\b)", r"<NUMBER>\1"),
    ),
    (Mask(r"<ID>(?:[ /+=.-]?<(?:ID|NUMBER)>)+", "<ID>", _contains("<ID>")),),
)
"""What varies in replies and what stands for it, applied in this order; masks of one group share the first's need."""


def masked(reply: str) -> str:
    """SQL: the reply with what varies masked, white space collapsed, lines of one reply joined.

    A query within the expression, one step around another, as a test on the step before must not repeat that step.
    """
    start = f"left({reply}, {LONGEST_REPLY})"
    # A reply cut at the limit loses its last word: half an address would not look like one.
    start = f"case when length({reply}) > {LONGEST_REPLY} then regexp_replace({start}, '\\S*$', '') else {reply} end"
    # A code repeated within the text (several lines, joined by the sender) says nothing new.
    first = f"regexp_extract({start}, '^[245]\\d\\d[ -]{_ENHANCED} ')"
    start = f"replace({start}, ' ' || {first}, ' ')"
    # qmail's logs write blanks as underscores.
    start = f"case when contains({reply}, ' ') then {start} else replace({start}, '_', ' ') end"
    query = f"select {start} as masked"
    for group in MASKS:
        step = "masked"
        for mask in group:
            step = f"regexp_replace({step}, {text(mask.pattern)}, {text(mask.replacement)}, 'g')"
        if group[0].needs:
            step = f"case when {group[0].needs} then {step} else masked end"
        query = f"select {step} as masked from ({query})"
    return f"(select trim(masked, ' ') from ({query}))"


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
            known(f"{text(opening)} || {local} || {text(closing)}")
            for opening, closing in (("<", ">"), ("'", "'"), ('"', '"'), ("(", ")"), ("[", "]"))
        ),
        known(f"{local} || '=' || {domain}"),
        known(
            local,
            f"{is_address} and length({local}) >= 5 "
            f"and regexp_matches({local}, '[0-9._]') and regexp_matches({local}, '[A-Za-z]')",
        ),
    ]
    return reduce(lambda sql, needle: f"replace({sql}, {needle}, '<EMAIL>')", needles, sql)
