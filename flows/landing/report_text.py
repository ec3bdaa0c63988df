"""What reports of failure say in prose: the recipients, the reply to each, and where the returned message begins.

Written for what the mailers mean: Exim, qmail, Sendmail, Postfix, Gmail, Exchange, and whoever lists addresses below a
line that announces them. What a pattern may repeat is bounded, and so is the text (`mail.TEXT_LIMIT_BYTES`).
"""

import re
from dataclasses import dataclass, field

LINE_LIMIT = 1500
"""Lines of prose that are looked at; the report proper is at the begin."""

ADDRESS = r"[^\s<>()\[\],;:\"'|]{1,128}@[A-Za-z0-9\[][A-Za-z0-9.\-\]]{0,250}"

RETURNED = re.compile(
    r"^\W*(?:(?:this|below|the following) .{0,30}\bcopy of (?:the|your) message|original message(?: headers?)?\b\W*$"
    r"|.{0,40}\bcopy of (?:the|your) (?:original )?message\b|(?:unsent|returned|undelivered) message (?:follows|below)"
    r"|message (?:text|headers?|body) follows?|(?:the )?(?:header|body|text) of (?:the|your) (?:original )?message)",
    re.IGNORECASE,
)
"""The line above the returned message."""

ANNOUNCED = re.compile(
    r"(?:following|these|those|failed|listed|below)\b.{0,60}?\b(?:address|recipient|user|mailbox|destination|group)"
    r"|address(?:es)? (?:had|failed|with|follow)|generating server\b"
    r"|(?:address|recipient)\(?e?s?\)?.{0,40} not (?:yet )?been delivered"
    r"|(?:not|n't) (?:be )?(?:delivered|sent|reach).{0,20} to\b.{0,20}:$"
    r"|rejected your message to\b",
    re.IGNORECASE,
)
"""A line, perhaps with the one before it, below which recipients are listed."""

# qmail and Postfix: the address in brackets at the begin of a line, and a colon behind it or behind what it came from.
LABELLED = re.compile(rf"^<({ADDRESS})>(?:\s*\(expanded\s+from.*|:(.*))$", re.IGNORECASE)
LISTED = re.compile(
    rf"^[\s>*\u2022-]*[<'\"]?({ADDRESS})[>'\"]?\s*(?:<mailto:[^>]*>)?(?:$|([:;(.\u2026,-].*|on .*))$", re.IGNORECASE
)
LINKED = re.compile(rf"<mailto:({ADDRESS})>", re.IGNORECASE)
ADDRESS_AT_END = re.compile(rf":\s*<?({ADDRESS})>?\W*$")

# The reply of a remote begins with its code (RFC 5321, 4.2), behind the words that announce it.
SAID = re.compile(
    r"(?:said|returned|was|reason|response|error|after\b[^:]{0,80}):?\s*(?:<[^>]{0,250}>:?\s*)?"
    r"(?:host \S{1,250} ?\[[^\]]{1,60}\](?::\d+)?:?\s*)?[:'\"(]?\s*(?=[245]\d\d[ -])(.*)",
    re.IGNORECASE,
)
CODED = re.compile(r"(?:^|<<< ?|#<?|[:;'\"(\]] ?)([45]\d\d(?:-| #?(?=\S)).*)")
TRANSCRIPT = re.compile(r"^\s*<<< ?([245]\d\d[ -].*)$")
LABEL = re.compile(
    r"^\(?(?:reason|remote host said|smtp error from remote mail(?:er| server)[^:]{0,80}):\s*", re.IGNORECASE
)
ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")

BEHIND = re.compile(
    r"\s*(?:\(in reply to [^)]{0,80}\)|Giving up on \S+|I'?m not going to try again\b.*|\(state \d+\)\.?"
    r"|>? ?#SMTP#|##.*)\s*",
    re.IGNORECASE,
)
"""What mailers add behind a reply."""

HOSTS = re.compile(
    r"(?:host|server|by|to|domain) (?P<name>[A-Za-z0-9][A-Za-z0-9.-]{2,250})\.? ?[\[(](?P<ip>[0-9A-Fa-f.:]{7,45})[\])]"
    r"|talking to (?P<talk>[A-Za-z0-9][A-Za-z0-9.-]{2,250}?)\.?:"
    r"|^(?:Connected to )?(?P<bare>[A-Za-z0-9.:-]{3,250}) (?:does not like|failed after|but )",
    re.MULTILINE,
)

DELAYED = re.compile(
    r"\bwarning\b.{0,30}\bonly\b|has been delayed|\bnot yet (?:been )?(?:delivered|received)|still being retried"
    r"|will be (?:retried|attempted again)|(?:will|to) (?:continue|keep) (?:trying|on trying)|delayed mail"
    r"|delivery (?:status notification )?\(?(?:is )?(?:delay|temporar)",
    re.IGNORECASE,
)

FAILED = re.compile(
    r"undeliver|failure notice|returned (?:mail|to sender)|delivery (?:has )?fail"
    r"|deliver(?:y|ed) (?:status|problem|error)|mail (?:delivery )?failed"
    r"|returning (?:message )?to sender|not (?:be )?delivered|delay|non-?deliver|bounced mail",
    re.IGNORECASE,
)
"""Words in the subject of a report."""


@dataclass(slots=True)
class Failure:
    """One recipient of a report, and what was said of it; `is_remote` where those are words of another host."""

    recipient: str
    lines: list[str] = field(default_factory=list)
    reply: str | None = None
    is_remote: bool = False
    host: str | None = None


@dataclass(slots=True)
class Prose:
    """What a text says: failures by recipient, whether they are but delays, and the returned message in it, if any."""

    failures: list[Failure]
    is_delay: bool
    returned: str


def cut_returned(text: str) -> tuple[list[str], str]:
    """The lines of the report, and the text of the returned message below the line that announces it."""
    lines = text.split("\n")
    for number, line in enumerate(lines[:LINE_LIMIT]):
        if number and len(line) < 120 and RETURNED.match(line):
            return lines[:number], "\n".join(lines[number + 1 :])
    return lines[:LINE_LIMIT], ""


def read_prose(text: str, subject: str, failed: list[str]) -> Prose:
    """The recipients that a report names; `failed` are those of `X-Failed-Recipients`, which settle who they are."""
    lines, returned = cut_returned(text)
    lines = [line[:1000] for line in lines]
    blocks = find_blocks(lines)
    if failed:
        failures = []
        for address in dict.fromkeys(failed[:LINE_LIMIT]):
            found = best(blocks, address) or Failure(address, paragraph_of(address, lines))
            if not found.lines and len(failed) == 1 and len(blocks) == 1:
                found.lines = blocks[0].lines
            failures.append(found)
    else:
        named = dict.fromkeys(block.recipient.lower() for block in blocks)
        failures = [block for address in named if (block := best(blocks, address))]
    transcript = [match[1] for line in lines if (match := TRANSCRIPT.match(line))]
    coded = [line.strip() for line in lines if re.match(r"\s*[45]\d\d[ -]", line)]
    for failure in failures:
        judge(failure, lines, transcript, coded, is_alone=len(failures) == 1)
    opening = "\n".join(lines[:60])
    is_delay = bool(DELAYED.search(subject) or DELAYED.search(opening)) and not re.search(
        r"permanent|failure\)|giv(?:en|ing) up|could not be delivered for", opening[:4000], re.IGNORECASE
    )
    return Prose(failures, is_delay, returned)


def best(blocks: list[Failure], address: str) -> Failure | None:
    """Of the blocks of one recipient the one that holds a reply code, else the first that says anything."""
    own = [block for block in blocks if block.recipient.lower() == address.lower()]
    return max(own, key=lambda block: (find_reply(block.lines)[1], bool(block.lines)), default=None)


def find_blocks(lines: list[str]) -> list[Failure]:
    """Addresses that are listed or labelled, each with the lines below it up to a blank one."""
    blocks: list[Failure] = []
    current: Failure | None = None
    is_list = False
    before = ""
    for line in lines:
        stripped = line.strip()
        if not stripped:
            current, before = None, ""
            continue
        if label := LABELLED.match(line.rstrip()):
            current = Failure(label[1], [label[2].strip()] if label[2] and label[2].strip() else [])
            blocks.append(current)
        elif (
            is_list
            and (listed := LISTED.match(stripped))
            # deeper than the addresses, and below one: part of the reply to it
            and not (current and current.lines and line.startswith("    "))
        ):
            current = Failure(listed[1].rstrip("."), [])
            rest = (listed[2] or "").lstrip(":;(. ").strip()
            if rest and not LINKED.search(rest) and not rest.lower().startswith("action:"):
                current.lines.append(rest)
            blocks.append(current)
        elif ANNOUNCED.search(stripped) or (before and ANNOUNCED.search(f"{before} {stripped}"[-300:])):
            is_list, current = True, None
            if same_line := ADDRESS_AT_END.search(stripped):
                blocks.append(Failure(same_line[1]))
        elif is_list and (linked := LINKED.search(stripped)) and stripped.endswith(">"):
            current = Failure(linked[1], [])
            blocks.append(current)
        elif current is not None:
            current.lines.append(stripped)
        elif blocks and not line[0].isspace():
            is_list = False
        before = stripped
    return blocks


def paragraph_of(address: str, lines: list[str]) -> list[str]:
    """The lines behind the first that names an address, up to a blank one."""
    for number, line in enumerate(lines):
        if address.lower() in line.lower():
            end = next((at for at in range(number, len(lines)) if not lines[at].strip()), len(lines))
            return [part.strip() for part in lines[number + 1 : end]]
    return []


def find_reply(lines: list[str]) -> tuple[str | None, int]:
    """The reply in the lines, and how sure it is: 2 where it was announced, 1 where it has a code, else 0."""
    joined = " ".join(lines).strip()
    if said := SAID.search(joined):
        return said[1], 2
    if coded := CODED.search(joined):
        return coded[1], 1
    return LABEL.sub("", joined) or None, 0


def judge(failure: Failure, lines: list[str], transcript: list[str], coded: list[str], *, is_alone: bool) -> None:
    """Find the reply to one recipient: in its own lines, else in the transcript, else in what is said of all."""
    reply, certainty = find_reply(failure.lines)
    own = "\n".join(failure.lines)
    if certainty < 1:
        about = [line for line in transcript if failure.recipient.lower() in line.lower()]
        chosen = about or (transcript if is_alone else [])
        if chosen:
            reply, certainty = chosen[0], 2
    if certainty < 1:
        named = [line for line in coded if failure.recipient.lower() in line.lower()]
        if named:
            reply, certainty = named[0], 1
    if certainty < 1 and not reply:
        # Gmail: addresses first, then a paragraph on why.
        for paragraph in "\n".join(line.strip() for line in lines).split("\n\n"):
            found, sure = find_reply(paragraph.split("\n"))
            if sure == 2 or (sure == 1 and is_alone):
                reply, certainty = found, sure
                break
    if reply:
        reply = BEHIND.sub(" ", reply).strip()
        reply = re.sub(r"^(\d{3})[ -](?=\1[ -])", "", reply)
        if reply.endswith(")") and reply.count("(") < reply.count(")"):
            reply = reply[:-1]
        reply = reply.rstrip(">'\" ") if reply.count("<") < reply.count(">") else reply.rstrip("'\" ")
    failure.reply = reply or None
    failure.is_remote = certainty > 0
    host = HOSTS.search(own) or (HOSTS.search("\n".join(lines)) if is_alone else None)
    if host:
        name, address = host["name"] or host["talk"] or host["bare"], host["ip"]
        failure.host = f"{name} ({address})" if address else name
