"""The oracle: what became of every message, address and day, told by plain Python from what the logs say.

Written from the design and docs/, it shares no code with the warehouse and looks at no file: a list of entries in any order, each
once or often. It is slow and simple on purpose. Rows are tuples in multisets (`Counter`), named after the marts.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.oracle.histories import Action, Address, OptOut, Reply
from tests.oracle.writers import Entry, Expiry

FINAL = ("delivered", "bounced", "expired", "dropped", "out_of_band_bounce")
FAILURES = ("deferred", "bounced", "expired", "out_of_band_bounce")
ATTEMPTS = ("delivered", "deferred", "bounced")
FOREVER = datetime.max


@dataclass
class Event:
    """A canonical event; what of its message only other records tell is filled in later."""

    entry: Entry
    recipient: str
    event_type: str
    attempt: int | None
    reply: Reply | None
    is_notice: bool = False
    message: "Story | None" = None
    """The message that a report which came apart speaks of."""

    @property
    def at(self) -> datetime:
        return self.entry.at

    @property
    def bounce_class(self) -> str | None:
        """The reply code's first digit decides; without one the enhanced code's; without either the event type."""
        if self.event_type not in FAILURES:
            return None
        for code in (self.reply and self.reply.code, self.reply and self.reply.enhanced):
            if code:
                return "hard" if code.startswith("5") else "soft"
        return "hard" if self.event_type in ("bounced", "out_of_band_bounce") else "soft"

    @property
    def is_bounce(self) -> bool:
        """Each refused attempt, and each refusal after an acceptance; a notice of a refusal is none."""
        if self.event_type == "out_of_band_bounce":
            return not self.is_notice
        return self.entry.is_attempt and self.event_type in ("deferred", "bounced")

    def known(self, name: str) -> Any:
        """Sender, campaign …: of the message that the report speaks of where that knows it, else its own."""
        of_message = self.message.logged(name) if self.message else None
        return of_message if of_message is not None else getattr(self.entry, name)


@dataclass
class Story:
    """A message and one recipient."""

    source: str
    message_id: str | None
    recipient: str
    events: list[Event] = field(default_factory=list)
    reports: list[Event] = field(default_factory=list)

    @property
    def is_logged(self) -> bool:
        """Whether a log speaks of it, and not only a report that came apart."""
        return any(
            event.entry.source != "dsn" and event.event_type not in ("out_of_band_bounce", "complaint")
            for event in self.events
        )

    def logged(self, name: str) -> Any:
        """What its own log says of it."""
        values = {getattr(event.entry, name) for event in self.events} - {None}
        assert len(values) <= 1, f"the history says two things of {name}: {values}"
        return values.pop() if values else None

    def known(self, name: str) -> Any:
        """What its log says, else the first report that says something."""
        if (own := self.logged(name)) is not None:
            return own
        reported = (getattr(event.entry, name) for event in sorted(self.reports, key=lambda event: event.at))
        return next((value for value in reported if value is not None), None)


@dataclass(frozen=True)
class Tale:
    """Rows by mart."""

    rows: dict[str, Counter[tuple[Any, ...]]]


def normal(address: str) -> str:
    """No display name, lower case, the domain as DNS knows it (by the standard library's IDNA, which is the older one)."""
    bare = re.sub(r".*<(.*)>.*", r"\1", address).strip().lower()
    local, _, domain = bare.rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"


def domain_of(address: str) -> str:
    return address.rpartition("@")[2]


def read_resend_rules(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open() as file:
        return {(row["source_name"], row["campaign_id"]): row for row in csv.DictReader(file)}


def tell(
    entries: Iterable[Entry | Expiry],
    actions: Iterable[Action],
    opt_outs: Iterable[OptOut],
    rules: Mapping[tuple[str, str], dict[str, str]],
) -> Tale:
    once = set(entries)  # the same record again says nothing new
    logged = {replace(entry, recipient=normal(entry.recipient)) for entry in once if isinstance(entry, Entry)}
    expiries = {entry for entry in once if isinstance(entry, Expiry)}
    data_through: dict[str, datetime] = {}
    for entry in logged:
        data_through[entry.source] = max(entry.at, data_through.get(entry.source, entry.at))
    stories = gather(logged, expiries)
    join_reports(stories)
    rows = tell_events(stories)
    parts = [rows.pop("rpt_delivery_daily", Counter())]
    rows |= tell_messages(stories, data_through, rules)
    parts.append(rows.pop("rpt_delivery_daily", Counter()))
    events = [event for story in stories for event in story.events]
    rows |= tell_lists(events, [*actions], [*opt_outs])
    rows |= tell_sends(events, stories, rows["fct_suppression_events"])
    # events, non-deliveries and sends to listed addresses meet in one mart
    rows["rpt_delivery_daily"] = sum([*parts, rows["rpt_delivery_daily"]], Counter())
    return Tale(rows)


def gather(logged: Iterable[Entry], expiries: Iterable[Expiry]) -> list[Story]:
    """Messages and recipients, each with its events in order, completed by what they tell together."""
    threads: dict[tuple[Hashable, str, str], list[Entry]] = defaultdict(list)
    for entry in logged:
        threads[entry.thread, entry.source, entry.recipient].append(entry)
    expired_at = {expiry.thread: expiry.at for expiry in expiries}
    stories = []
    for (thread, source, recipient), entries in threads.items():
        entries.sort(key=lambda entry: (entry.at, entry.event_type))
        story = Story(source, entries[0].message_id, recipient)
        if thread in expired_at:
            before = [entry for entry in entries if entry.at <= expired_at[thread]]
            if before and before[-1].event_type == "deferred":
                entries.append(
                    replace(before[-1], event_type="expired", at=expired_at[thread], is_attempt=False, attempt=None)
                )
                entries.sort(key=lambda entry: entry.at)
        attempts = 0
        for entry in entries:
            event = Event(entry, recipient, entry.event_type, None, entry.reply)
            # a refusal after an acceptance came out of band, by whatever name the source has for it
            if entry.event_type == "bounced" and any(
                other.event_type == "delivered" and other.at < entry.at for other in entries
            ):
                event.event_type = "out_of_band_bounce"
            if entry.is_attempt and event.event_type in ATTEMPTS:
                attempts += 1
                event.attempt = entry.attempt or attempts
            else:
                event.entry = replace(entry, is_attempt=False)
            if entry.event_type == "expired" and not (entry.reply and entry.reply.is_remote):
                event.reply = last_reply(story.events) or entry.reply
            story.events.append(event)
        stories.append(story)
    return stories


def last_reply(events: list[Event]) -> Reply | None:
    """What the last host said before a message expired tells more than the words of the queue."""
    replies = [
        event.reply
        for event in events
        if event.event_type in ("deferred", "bounced") and event.reply and event.reply.masked[0] != "("
    ]
    return replies[-1] if replies else None


def join_reports(stories: list[Story]) -> None:
    """Reports that came apart: by message id, else by recipient and return path, to the last message sent before."""
    logged = [story for story in stories if story.is_logged]
    by_recipient: dict[str, list[Story]] = defaultdict(list)
    for story in logged:
        by_recipient[story.recipient].append(story)
    for story in stories:
        if story.is_logged:
            continue
        for event in story.events:
            found = find_message(event, by_recipient[story.recipient])
            if found:
                event.message = found
                event.is_notice = event.event_type == "out_of_band_bounce" and any(
                    other.event_type in ("bounced", "expired") for other in found.events
                )
                found.reports.append(event)


def find_message(report: Event, candidates: list[Story]) -> Story | None:
    # reports carry whole seconds, and clocks differ
    sent = [story for story in candidates if story.events[0].at <= report.at + timedelta(minutes=5)]
    by_id = [story for story in sent if story.message_id and story.message_id == report.entry.message_id]
    by_path = [story for story in sent if report.entry.sender and story.logged("sender") == report.entry.sender]
    return max(by_id or by_path, key=lambda story: story.events[0].at, default=None)


def tell_events(stories: list[Story]) -> dict[str, Counter[tuple[Any, ...]]]:
    rows: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
    apart: Counter[tuple[str, bool]] = Counter()
    for story in stories:
        for event in story.events:
            entry, reply = event.entry, event.reply
            fails = event.event_type in FAILURES or event.event_type == "dropped"
            rows["fct_delivery_events"][
                entry.source, story.message_id, event.recipient, event.at, event.event_type, entry.is_attempt, event.bounce_class,
                reply.reason if fails and reply else None, reply.masked if fails and reply else None,
                reply.code if fails and reply else None, reply.enhanced if fails and reply else None,
                entry.sender, entry.from_domain, entry.campaign, entry.sending_ip,
            ] += 1  # fmt: skip
            if event.attempt:
                rows["attempts"][entry.source, story.message_id, event.recipient, event.at, event.attempt] += 1
            if event.is_bounce:
                assert reply
                linked = event.message
                rows["fct_bounces"][
                    entry.source, linked.message_id if linked else story.message_id, event.recipient, event.at,
                    event.event_type, event.bounce_class, event.event_type != "deferred", reply.reason, reply.masked,
                    event.known("sender"), event.known("from_domain"), event.known("campaign"), event.known("sending_ip"),
                ] += 1  # fmt: skip
                rows["rpt_bounces_daily"][
                    event.at.date(), entry.source, event.known("campaign"), event.known("from_domain"), event.known("sending_ip"),
                    domain_of(event.recipient), event.bounce_class, reply.masked, reply.reason,
                ] += 1  # fmt: skip
            for name in count_as(event):
                rows["rpt_delivery_daily"][
                    event.at.date(),
                    entry.source,
                    event.known("campaign"),
                    event.known("from_domain"),
                    event.known("sending_ip"),
                    domain_of(event.recipient),
                    name,
                ] += 1
            if not story.is_logged:
                apart[entry.source, event.message is not None] += 1
    for source in {source for source, _ in apart}:
        rows["ops_sources"][source, apart[source, True] + apart[source, False], apart[source, False]] += 1
    return dict(rows)


def count_as(event: Event) -> Iterator[str]:
    if event.event_type != "deferred" or event.entry.is_attempt:
        yield event.event_type
    if event.entry.is_attempt:
        yield "attempt"
        if event.attempt == 1:
            yield f"{event.event_type}_first_attempt"
    if event.is_bounce:
        yield f"{event.bounce_class}_bounce"


def tell_messages(
    stories: list[Story], data_through: Mapping[str, datetime], rules: Mapping[tuple[str, str], dict[str, str]]
) -> dict[str, Counter[tuple[Any, ...]]]:
    rows: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
    for story in stories:
        own = [event for event in story.events if event.message is None]
        events = sorted(own + story.reports, key=lambda event: event.at)
        if not events:
            continue  # all that is known of it was told of another
        attempts = [event for event in events if event.entry.is_attempt]
        deferrals = [event for event in events if event.event_type == "deferred"]
        # a notice says nothing that the log had not said
        final = max(
            (event for event in events if event.event_type in FINAL and not event.is_notice),
            key=lambda event: (event.at, event.event_type != "delivered"), default=None,
        )  # fmt: skip
        attempt_count = max([len(attempts), *(event.attempt or 0 for event in events)])
        campaign = story.known("campaign")
        rule = next(
            rules[key]
            for key in [(story.source, campaign), (story.source, "*"), ("*", campaign), ("*", "*")]
            if key in rules
        )
        first_at = events[0].at
        ends_at = first_at + timedelta(hours=int(rule["lifetime_hours"]))
        has_complaint = any(event.event_type == "complaint" for event in events)
        outcome, cause, at, deciding = "in_flight", None, None, None
        if (final and final.event_type == "delivered") or (not final and has_complaint):
            outcome = "delivered"
        elif final:
            outcome, at, deciding = "undelivered", final.at, final
            if final.event_type == "dropped":
                cause = "dropped"
            elif final.event_type != "expired" and final.bounce_class == "hard":
                cause = "hard_bounce"
            else:
                cause = "expired"
        elif rule["retry_count"] and attempt_count > int(rule["retry_count"]):
            outcome, cause, deciding = "undelivered", "retries_used_up", deferrals[-1]
            at = deciding.at
        elif ends_at <= data_through[story.source]:
            if any(event.entry.source != "dsn" or event.message for event in deferrals):
                outcome, cause, at, deciding = "undelivered", "lifetime_passed", ends_at, deferrals[-1]
            elif any(event.event_type == "injected" for event in events):
                outcome, cause, at = "undelivered", "undefined", ends_at
                deciding = deferrals[-1] if deferrals else None
        delivered = [event.at for event in events if event.event_type == "delivered"]
        delivered_at = min(delivered) if delivered and outcome == "delivered" else None
        next_at = None
        if outcome == "in_flight" and attempts:
            growth = float(rule["exponent"]) ** (attempt_count - 1) if rule["growth"] == "geometric" else 1
            next_at = attempts[-1].at + timedelta(minutes=int(rule["interval_minutes"]) * growth)
        reply = deciding.reply if deciding else None
        who = (
            story.source, story.message_id, story.recipient, story.known("sender"), story.known("from_domain"),
            story.known("sending_ip"), campaign,
        )  # fmt: skip
        why = (
            reply.reason if reply else None, reply.masked if reply else None, deciding.bounce_class if deciding else None,
        )  # fmt: skip
        rows["fct_messages"][
            *who, outcome, cause, first_at, events[-1].at, attempts[0].at if attempts else None, attempts[-1].at if attempts else None,
            attempt_count, sum(event.event_type == "deferred" for event in attempts), delivered_at,
            int((delivered_at - first_at).total_seconds()) if delivered_at else None, at, next_at, has_complaint,
            bool(story.reports), *why,
        ] += 1  # fmt: skip
        if outcome == "undelivered":
            assert at
            rows["fct_non_deliveries"][*who, cause, at, *why] += 1
            rows["rpt_undeliveries_daily"][
                at.date(), who[0], who[6], who[4], who[5], domain_of(story.recipient), cause, why[2], why[1], why[0]
            ] += 1
            rows["rpt_delivery_daily"][
                at.date(), who[0], who[6], who[4], who[5], domain_of(story.recipient), "undelivered"
            ] += 1
    return dict(rows)


@dataclass(frozen=True)
class Fact:
    """Something that puts an address on a list at `at`, until `until` at the latest; or that takes it off."""

    list_name: str
    address: str
    at: datetime
    cause: str
    by: str
    is_removal: bool = False
    until: datetime = FOREVER
    end: tuple[str, str] = ("", "")
    """Action and by whom, at `until`."""


def plain(address: Address) -> str:
    return f"{address.local}@{address.ascii_domain}"


def is_recovered(event: Event, action: Action) -> bool:
    margin = (action.margin_hours or 0) if event.event_type == "out_of_band_bounce" else 0
    assert event.reply
    return (
        action.from_at <= event.at < action.until_at + timedelta(hours=margin)
        and domain_of(event.recipient) == action.domain
        and (action.reason is None or event.reply.reason == action.reason)
        and (action.pattern is None or re.search(action.pattern, event.reply.words, re.IGNORECASE) is not None)
    )


def tell_lists(
    events: list[Event], actions: list[Action], opt_outs: list[OptOut]
) -> dict[str, Counter[tuple[Any, ...]]]:
    facts = []
    for event in events:
        if (
            event.event_type in ("bounced", "out_of_band_bounce")
            and event.bounce_class == "hard"
            and not event.is_notice
        ):
            ends = [action.at for action in actions if action.action == "recover" and is_recovered(event, action)]
            until = max(min(ends), event.at) if ends else FOREVER
            facts.append(
                Fact(
                    "suppression",
                    event.recipient,
                    event.at,
                    "hard_bounce",
                    "bouncehouse",
                    until=until,
                    end=("reverted", "eve"),
                )
            )
        elif event.event_type == "complaint":
            facts.append(Fact("global", event.recipient, event.at, "complaint", "bouncehouse"))
    for opt_out in opt_outs:
        facts.append(Fact("global", plain(opt_out.address), opt_out.at, "unsubscribe", "bouncehouse"))
    for action in actions:
        if action.action != "recover":
            cause = "import" if action.action == "import" else "administrator"
            facts.append(
                Fact(action.list_name, plain(action.address), action.at, cause, "eve", action.action == "remove")
            )
    rows: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
    for list_name, ledger, current in [
        ("suppression", "fct_suppression_events", "dim_suppressed_addresses"),
        ("global", "fct_global_suppression_events", "dim_global_suppressed_addresses"),
    ]:
        for address, at, until, cause, by, end in replay(fact for fact in facts if fact.list_name == list_name):
            rows[ledger][address, at, "imported" if cause == "import" else "added", by, cause] += 1
            if until < FOREVER:
                rows[ledger][address, until, *end, None] += 1
            else:
                rows[current][address, at, by, cause] += 1
    seen: dict[str, list[datetime]] = defaultdict(list)
    for event in events:
        seen[event.recipient].append(event.at)
    bounced = defaultdict(list)
    for address, at, until, *_ in replay(
        fact for fact in facts if fact.list_name == "suppression" and (fact.is_removal or fact.cause == "hard_bounce")
    ):
        bounced[address].append((at, until))
    for address, times in seen.items():
        start = min(times)
        last: datetime | None = None
        for at, until in bounced[address]:
            if start < at:
                rows["dim_profile_history"][address, "active", start, at] += 1
            rows["dim_profile_history"][address, "hard_bounced", at, until if until < FOREVER else None] += 1
            start = until
            last = at if until == FOREVER else None
        if start < FOREVER:
            rows["dim_profile_history"][address, "active", start, None] += 1
        rows["dim_profiles"][address, "hard_bounced" if last else "active", last, min(times), max(times)] += 1
    return dict(rows)


def replay(facts: Iterable[Fact]) -> Iterator[tuple[str, datetime, datetime, str, str, tuple[str, str]]]:
    """Stays on a list: an address is on it while any fact holds it there; a removal ends all, and has the last word of its instant."""
    by_address: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_address[fact.address].append(fact)
    for address, mine in by_address.items():
        removals = [fact.at for fact in mine if fact.is_removal]
        spans = []
        for fact in mine:
            if not fact.is_removal:
                removed_at = min((at for at in removals if at >= fact.at), default=FOREVER)
                end = ("removed", "eve") if removed_at < fact.until else fact.end
                # at one instant a bounce is named before a decision
                spans.append((fact.at, fact.by != "bouncehouse", min(removed_at, fact.until), fact, end))
        stay: tuple[datetime, datetime, Fact, tuple[str, str]] | None = None
        for at, _, until, fact, end in sorted(spans, key=lambda span: span[:2]):
            if until <= at:
                continue
            if stay and at < stay[1]:
                if until > stay[1]:
                    stay = (stay[0], until, stay[2], end)
                continue
            if stay:
                yield address, stay[0], stay[1], stay[2].cause, stay[2].by, stay[3]
            stay = (at, until, fact, end)
        if stay:
            yield address, stay[0], stay[1], stay[2].cause, stay[2].by, stay[3]


def tell_sends(
    events: list[Event], stories: list[Story], ledger: Counter[tuple[Any, ...]]
) -> dict[str, Counter[tuple[Any, ...]]]:
    """Attempts to an address while it was on the suppression list."""
    stays: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    changes = sorted(ledger, key=lambda row: (row[0], row[1], row[2] in ("added", "imported")))
    for address, at, action, *_ in changes:
        if action in ("added", "imported"):
            stays[address].append((at, FOREVER))
        else:
            stays[address][-1] = (stays[address][-1][0], at)
    rows: Counter[tuple[Any, ...]] = Counter()
    daily: Counter[tuple[Any, ...]] = Counter()
    for story in stories:
        told = [*(event for event in story.events if event.message is None), *story.reports]
        for event in story.events:
            for at, until in stays[event.recipient]:
                if event.entry.is_attempt and at < event.at < until:
                    is_in_flight = min(each.at for each in told) <= at
                    rows[
                        event.entry.source,
                        story.message_id,
                        event.recipient,
                        event.at,
                        event.event_type,
                        at,
                        is_in_flight,
                    ] += 1
                    daily[
                        event.at.date(), event.entry.source, event.entry.campaign, event.entry.from_domain,
                        event.entry.sending_ip, domain_of(event.recipient), "suppressed_send",
                    ] += 1  # fmt: skip
    return {"fct_suppressed_sends": rows, "rpt_delivery_daily": daily}
