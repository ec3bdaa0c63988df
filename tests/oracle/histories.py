"""Message histories drawn by Hypothesis: what happens to messages, reports and lists, before any log writes it down.

A history is small (a handful of messages to two or three addresses) and has domains and ids of its own, so that many share
one home and each can be told apart in what differs. Times lie on a coarse grid, so that instants coincide. Left out is only
what no reader could decide: two refusals of one message at one instant, or two decisions on one address.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Source = Literal["events", "kumomta", "postfix", "ses", "sendgrid"]
Kind = Literal["deferred", "bounced", "delivered", "expired", "dropped", "out_of_band_bounce", "complaint"]

SOURCES: tuple[Source, ...] = ("events", "kumomta", "postfix", "ses", "sendgrid")
BEGIN = datetime(2026, 3, 1)
MINUTES = [0, 1, 20, 60, 60, 60, 24 * 60, 36 * 60, 5 * 24 * 60]
"""Between two steps of a message."""


@dataclass(frozen=True)
class Reply:
    """A known reply: the codes and words that a log has of it, and what it is known to mean."""

    code: str | None
    enhanced: str | None
    words: str
    masked: str
    reason: str
    is_remote: bool = True


REPLIES = [
    Reply("550", "5.1.1", "<{recipient}>: Recipient address rejected: User unknown in local recipient table",
          "550 5.1.1 <EMAIL>: Recipient address rejected: User unknown in local recipient table", "user_unknown"),
    Reply("554", "5.7.1", "Service unavailable; Client host [192.0.2.7] blocked using zen.blocklist.example",
          "554 5.7.1 Service unavailable; Client host [<IP>] blocked using <DOMAIN>", "spam_block"),
    Reply("450", "4.2.0", "<{recipient}>: Recipient address rejected: Greylisted",
          "450 4.2.0 <EMAIL>: Recipient address rejected: Greylisted", "rate_limited"),
    Reply("452", "4.2.2", "The mailbox is full", "452 4.2.2 The mailbox is full", "mailbox_full"),
    Reply("552", "5.2.2", "Mailbox quota exceeded", "552 5.2.2 Mailbox quota exceeded", "mailbox_full"),
    Reply("421", None, "Too many connections from your host", "421 Too many connections from your host", "rate_limited"),
    Reply("550", None, "xyzzy nothing happens", "550 xyzzy nothing happens", "undetermined"),
    Reply("550", "5.1.2", "Domain not found", "550 5.1.2 Domain not found", "bad_domain"),
]  # fmt: skip
"""Any of them may come with a deferral or with a refusal: what a sender makes of a reply is its own affair."""

SILENCE = Reply(None, None, "", "(no reply logged)", "undetermined", is_remote=False)


@dataclass(frozen=True)
class Address:
    """`spellings` are ways to write one address; all are the same mailbox."""

    local: str
    domain: str
    ascii_domain: str

    @property
    def spellings(self) -> list[str]:
        spelled = [f"{self.local}@{self.ascii_domain}", f"{self.local.upper()}@{self.ascii_domain.title()}"]
        if self.domain != self.ascii_domain:
            spelled += [f"{self.local}@{self.domain}", f"{self.local.title()}@{self.domain.upper()}"]
        return spelled


@dataclass(frozen=True)
class Step:
    """Something that happens to one recipient of a message; `recipient` is its place among the message's."""

    kind: Kind
    recipient: int
    at: datetime
    reply: Reply
    attempt: int | None


@dataclass(frozen=True)
class Message:
    """`is_known` is false where the log names no message (source `events`); `queue_id` is Postfix's."""

    name: str
    source: Source
    recipients: tuple[Address, ...]
    begun_at: datetime
    has_injection: bool
    is_known: bool
    has_attempts: bool
    campaign: str | None
    from_domain: str | None
    sending_ip: str | None
    sender: str
    steps: tuple[Step, ...]
    queue_id: str
    ends_at: datetime | None
    """When the queue manager gave up (Postfix), or is done with the queue id."""
    is_expired: bool

    @property
    def last_at(self) -> datetime:
        return max([self.begun_at, *(step.at for step in self.steps)])


@dataclass(frozen=True)
class Report:
    """A report that comes apart from its message's log; `names` is what it says of the message."""

    name: str
    kind: Literal["failed", "delayed", "complaint"]
    by: Literal["dsn", "kumomta"]
    names: Literal["message_id", "return_path", "nothing"]
    message: Message
    recipient: Address
    at: datetime
    reply: Reply


@dataclass(frozen=True)
class Action:
    """A decision of an administrator; a recovery has `until` and what narrows it."""

    name: str
    action: Literal["add", "remove", "import", "recover"]
    list_name: Literal["suppression", "global"]
    at: datetime
    address: Address
    from_at: datetime
    until_at: datetime
    margin_hours: int | None
    domain: str | None
    pattern: str | None
    reason: str | None


@dataclass(frozen=True)
class OptOut:
    address: Address
    at: datetime


@dataclass(frozen=True)
class History:
    number: int
    messages: tuple[Message, ...]
    reports: tuple[Report, ...]
    actions: tuple[Action, ...]
    opt_outs: tuple[OptOut, ...]


def moments(draw: st.DrawFn, *, days: int = 9) -> datetime:
    """An instant on a grid of six hours."""
    return BEGIN + timedelta(hours=6 * draw(st.integers(0, 4 * days)))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """One history; `draw_histories` gives it names of its own."""
    addresses = [
        Address("ada", "h0000a.example", "h0000a.example"),
        Address("bob.b+tag", "bücher0000.example", "bücher0000.example".encode("idna").decode()),
        Address("cleo", "h0000c.example", "h0000c.example"),
    ]
    messages = tuple(draw_message(draw, number, addresses) for number in range(draw(st.integers(1, 6))))
    messages = tuple(share_queue_ids(messages))
    reports = tuple(draw_report(draw, number, messages) for number in range(draw(st.integers(0, 3))))
    actions = apart(draw_action(draw, number, addresses) for number in range(draw(st.integers(0, 4))))
    # never at the instant of a decision: nobody could say which of the two put the address on the list
    opt_outs = tuple(
        OptOut(draw(st.sampled_from(addresses)), moments(draw) + timedelta(seconds=30))
        for _ in range(draw(st.integers(0, 1)))
    )
    return History(0, messages, reports, tuple(actions), opt_outs)


def draw_message(draw: st.DrawFn, number: int, addresses: list[Address]) -> Message:
    source = draw(st.sampled_from(SOURCES))
    name = f"h0000m{number}"
    recipients = tuple(draw(st.lists(st.sampled_from(addresses), min_size=1, max_size=2, unique=True)))
    # return paths that several messages share are told apart by time: their messages never begin together
    is_shared = draw(st.booleans())
    begun_at = moments(draw) + timedelta(seconds=number if is_shared else 0)
    has_attempts = source in ("kumomta",) or (source == "events" and draw(st.booleans()))
    steps = [
        step
        for place in range(len(recipients))
        # some recipients have their turn on a later day than others
        for begin in [begun_at + timedelta(days=draw(st.sampled_from([0, 0, 1, 3])) if place else 0)]
        for step in draw_steps(draw, place, begin, has_attempts=has_attempts, source=source)
    ]
    is_known = source != "events" or draw(st.integers(0, 4)) > 0
    if not is_known:
        # each event is a message of its own: of two that began at once with one return path, none is the last
        steps = [replace(step, at=step.at + timedelta(seconds=place)) for place, step in enumerate(steps, 1)]
    is_expired = source == "postfix" and draw(st.booleans())
    last_at = max([begun_at, *(step.at for step in steps)])
    return Message(
        name=name,
        source=source,
        recipients=recipients,
        begun_at=begun_at,
        has_injection=not steps or draw(st.booleans()),
        is_known=is_known,
        has_attempts=has_attempts,
        campaign=draw(st.sampled_from([None, "h0000-spring", "h0000-autumn"])),
        from_domain=draw(st.sampled_from([None, "h0000news.example", "h0000shop.example"])),
        sending_ip=draw(st.sampled_from([None, "192.0.2.11", "192.0.2.12"])),
        sender=f"{'shared' if is_shared else name}@bounce.h0000news.example",
        steps=tuple(steps),
        queue_id=f"B0000Z{number}FFFFF",
        ends_at=last_at + timedelta(hours=draw(st.sampled_from([0, 1, 48])), seconds=1) if is_expired else None,
        is_expired=is_expired,
    )


def draw_steps(
    draw: st.DrawFn, place: int, begun_at: datetime, *, has_attempts: bool, source: Source
) -> Iterator[Step]:
    """Steps in order; no two refusals and no two acceptances of a recipient at one instant, as none could be the last."""
    kinds: list[Kind] = ["deferred", "deferred", "deferred", "bounced", "delivered", "delivered"]
    if source != "postfix":
        kinds += ["expired", "dropped", "complaint"]
    if source in ("events", "sendgrid"):
        kinds += ["out_of_band_bounce"]
    at, attempt = begun_at, 0
    taken: set[tuple[bool, datetime]] = set()
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(kinds))
        at += timedelta(minutes=draw(st.sampled_from(MINUTES)))
        # where attempts are counted by their order, two at one instant have none
        slot = has_attempts and kind == "delivered"
        while (slot, at) in taken:
            at += timedelta(minutes=1)
        taken.add((slot, at))
        is_attempt = kind in ("deferred", "bounced", "delivered")
        attempt += is_attempt
        reply = SILENCE if source == "events" and draw(st.integers(0, 9)) == 9 else draw(st.sampled_from(REPLIES))
        yield Step(kind, place, at, reply, attempt if is_attempt and has_attempts else None)


def share_queue_ids(messages: tuple[Message, ...]) -> Iterator[Message]:
    """Short queue ids of Postfix are used again: by the next message that begins after the one before was removed."""
    last: Message | None = None
    chosen = {}
    for message in sorted((each for each in messages if each.source == "postfix"), key=lambda each: each.begun_at):
        end = message.ends_at or message.last_at + timedelta(seconds=1)
        message = replace(message, ends_at=end)
        if last is not None and last.ends_at is not None and last.ends_at < message.begun_at:
            message = replace(message, queue_id=last.queue_id)
        chosen[message.name] = last = message
    for message in messages:
        yield chosen.get(message.name, message)


def draw_report(draw: st.DrawFn, number: int, messages: tuple[Message, ...]) -> Report:
    by = draw(st.sampled_from(["dsn", "dsn", "kumomta"]))
    message = draw(st.sampled_from(messages))
    recipient = draw(st.sampled_from(message.recipients))
    kind = draw(
        st.sampled_from(["failed", "failed", "delayed", "complaint"] if by == "dsn" else ["failed", "complaint"])
    )
    begun_at = draw(st.sampled_from([message.begun_at, *(step.at for step in message.steps)]))
    at = begun_at + timedelta(minutes=draw(st.sampled_from([-60, -3, 0, 10, 3 * 24 * 60])))
    # seconds of its own, so that of several reports one is the last; the first may share its instant with an acceptance
    at += timedelta(seconds=10 * number)
    busy = {step.at for step in message.steps if step.kind not in ("delivered", "complaint")}
    while at in busy:
        at += timedelta(seconds=1)
    return Report(
        name=f"h0000r{number}",
        kind=kind,
        by=by,
        names=draw(
            st.sampled_from(["message_id", "return_path", "nothing"] if by == "dsn" else ["return_path", "nothing"])
        ),
        message=message,
        recipient=recipient,
        at=at,
        reply=draw(st.sampled_from(REPLIES)),
    )


def draw_action(draw: st.DrawFn, number: int, addresses: list[Address]) -> Action:
    address = draw(st.sampled_from(addresses))
    from_at = moments(draw)
    return Action(
        name=f"h0000a{number}",
        action=draw(st.sampled_from(["add", "remove", "remove", "import", "recover"])),
        list_name=draw(st.sampled_from(["suppression", "suppression", "global"])),
        at=moments(draw, days=12),
        address=address,
        from_at=from_at,
        until_at=from_at + timedelta(hours=draw(st.sampled_from([6, 48]))),
        margin_hours=draw(st.sampled_from([None, 72])),
        # a recovery is always narrowed to a domain of this history: it must not reach another's
        domain=address.ascii_domain,
        pattern=draw(st.sampled_from([None, "user unknown"])),
        reason=draw(st.sampled_from([None, "user_unknown", "spam_block"])),
    )


def apart(actions: Iterator[Action]) -> Iterator[Action]:
    taken: set[datetime] = set()
    for action in actions:
        at = action.at
        while at in taken:
            at += timedelta(seconds=1)
        taken.add(at)
        yield replace(action, at=at)


def draw_histories(count: int, number: int) -> list[History]:
    """Let Hypothesis draw so many histories from this seed."""
    found: list[History] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories())
    def collect(history: History) -> None:
        found.append(history)

    collect()
    return [replace(rename(history, number), number=number) for number, history in enumerate(found[:count], 1)]


def rename(value: Any, number: int) -> Any:
    """The same with domains, ids and campaigns of its own: every name holds 0000 once."""
    return change(value, lambda leaf: leaf.replace("0000", f"{number:04}") if isinstance(leaf, str) else leaf)


def move(value: Any, by: timedelta) -> Any:
    """The same at other times."""
    return change(value, lambda leaf: leaf + by if isinstance(leaf, datetime) else leaf)


def change(value: Any, changed: Callable[[Any], Any]) -> Any:
    """A history, or a part of one, with every single value as `changed` gives it."""
    if isinstance(value, tuple):
        return tuple(change(each, changed) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: change(getattr(value, each.name), changed) for each in fields(value)})
    return changed(value)
