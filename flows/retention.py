"""Dropping what is older than the retention period, while reports, lists and accounts stay as they are.

What is dropped is the message with all its events, not the record: the unit is the message group (see
docs/architecture.md). A group is *closed* when its last event is older than the cutoff, and so is every group that is
bound to it, by a report that came apart or by a content filter. A pass works in steps, each whole or not there:

1. what stays of the closed groups is added up with what was retained before, in a new folder (flows/retained.py);
2. `work.duckdb` and `marts.duckdb` are written anew without them (flows/shrinking.py);
3. landed files go that hold nothing any more that the models need, their load records stay.

`finish` takes steps 2 and 3, after a kill too. Then the next build makes what is derived from all events, from facts
and what is retained, and its publication replaces the published file.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import pyarrow as pa

from flows import landing, rules
from flows.batch import find_kept
from flows.build import build
from flows.dbt_macros import read_macros
from flows.dbt_project import find_project_directory
from flows.landing import loads
from flows.landing.temporary import hold_lock
from flows.problems import ActionableError
from flows.retained import (
    ACCOUNT_COUNTS,
    DELIVERY_COUNTS,
    DROPPED_GROUPS,
    GROUPING,
    MANIFEST,
    TABLES,
    UNFINISHED_PREFIX,
    Retained,
    find_retained,
    select_retained,
)
from flows.settings import ACTIONS, SOURCES, Settings
from flows.shrinking import shrink_work
from flows.sql import text
from flows.work import open_work
from flows.work_state import find_versions, find_work_state


@dataclass(frozen=True)
class SourcePlan:
    """What a pass drops of one source. Times are UTC; `rejected_records` go with their files."""

    source_name: str
    messages: int
    events: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    files: int
    landing_bytes: int
    rejected_records: int


@dataclass(frozen=True)
class Plan:
    """What a pass drops: whatever ended before `cutoff` (UTC)."""

    cutoff: datetime
    sources: list[SourcePlan]

    @property
    def is_empty(self) -> bool:
        return not self.sources

    @property
    def events(self) -> int:
        return sum(source.events for source in self.sources)

    @property
    def files(self) -> int:
        return sum(source.files for source in self.sources)


def find_cutoff(retention_days: int, now: datetime | None = None) -> datetime:
    """The midnight (UTC) before which all is older than so many days, by the clock on the wall."""
    today = (now or datetime.now(UTC)).date()
    return datetime.combine(today - timedelta(days=retention_days), time.min)


def find_due_day(settings: Settings, retention_days: int) -> date | None:
    """The first day (UTC) on which a run makes a pass, where those before were made not long ago; None: any day."""
    retained = find_retained(settings) if settings.retention_every_days else None
    if retained is None:
        return None
    return (retained.cutoff + timedelta(retention_days + settings.retention_every_days)).date()


def is_due(settings: Settings, now: datetime | None = None) -> bool:
    """Whether a run would look for what to drop."""
    if not settings.retention_days:
        return False
    due_day = find_due_day(settings, settings.retention_days)
    return due_day is None or (now or datetime.now(UTC)).date() >= due_day


def preview(settings: Settings, retention_days: int, now: datetime | None = None) -> Plan:
    """Say what a pass would drop of what the last build took in; changes nothing."""
    if not find_work_state(settings).is_settled:
        raise ActionableError(
            "there is no finished build to tell from what would be dropped", "start a run first: bouncehouse run"
        )
    with open_work(settings) as connection:
        dropping = Dropping(settings, connection, find_cutoff(retention_days, now))
        return dropping.describe()


def drop_old(settings: Settings, now: datetime | None = None) -> Plan | None:
    """Drop what is older than `retention_days`, and finish a pass that was cut short; None where that is nothing.

    Nor where none is due. To be called with the home's lock held and before a build, which is then due. Works from a
    finished build only, and makes one first where there is none.
    """
    finish(settings)
    if not is_due(settings, now):
        return None
    state = find_work_state(settings)
    if state.versions is None and not landing.read_loads(settings):
        return None
    if not state.is_settled or state.versions != find_versions(settings):
        build(settings)
    with open_work(settings) as connection:
        dropping = Dropping(settings, connection, find_cutoff(settings.retention_days, now))
        plan = dropping.describe()
        if plan.is_empty:
            return None
        dropping.write()
    finish(settings)
    return plan


def finish(settings: Settings) -> None:
    """Make the home agree with what is retained: its private databases, its landed files, no other retained folder."""
    for path in settings.retained.glob(f"{UNFINISHED_PREFIX}*"):
        shutil.rmtree(path)
    retained = find_retained(settings)
    if retained is None:
        return
    shrink_work(settings, retained)
    drop_files(settings, retained)
    for path in settings.retained.iterdir():
        if path.name.isdigit() and int(path.name) < retained.number:
            shutil.rmtree(path)


class Dropping:
    """One pass over the private databases: which groups and files go (temporary tables), and what stays of them."""

    def __init__(self, settings: Settings, connection: duckdb.DuckDBPyConnection, cutoff: datetime) -> None:
        self.settings = settings
        self.connection = connection
        self.cutoff = cutoff
        self.before = find_retained(settings)
        self.connection.execute("set TimeZone = 'UTC'")
        self.connection.execute(f"set memory_limit = {text(settings.memory_limit)}")
        find_closed(connection, cutoff)
        self.find_files()

    def find_files(self) -> None:
        """Make the table `dropped_files`: landed files, packs as a whole, of which no open group needs a record.

        The events of a group name each the one file that they were taken from; other files may hold copies.
        """
        candidates = {
            digest
            for (digest,) in self.connection.execute(
                """
                with needed as (
                    select distinct file_digest
                    from (
                        select file_digest, message_group_id from intermediate.int_delivery_events__united
                        union all
                        select file_digest, message_group_id from intermediate.int_postfix__queue_facts
                        union all
                        select file_digest, message_group_id from intermediate.int_exim__message_facts
                    )
                    anti join closed using (message_group_id)
                )
                select file_digest
                from intermediate.int_files__accounted
                anti join needed using (file_digest)
                where
                    dropped_at is null
                    and source_name <> ?
                    and coalesce(last_event_at, landed_at) < ?
                """,
                [ACTIONS, self.cutoff],
            ).fetchall()
        }
        gone = self.before.dropped_digests if self.before else set()
        candidates |= gone
        sizes = {
            load.file_digest: load.landing_bytes if place == 0 else 0  # the files of a pack share theirs
            for unit in read_units(self.settings)
            if not unit[0].dropped_at and all(load.file_digest in candidates for load in unit)
            for place, load in enumerate(unit)
            if load.file_digest not in gone
        }
        self.connection.register(
            "sizes",
            pa.table(
                {"file_digest": pa.array(sizes, pa.string()), "landing_bytes": pa.array(sizes.values(), pa.int64())}
            ),
        )
        self.connection.execute("create temp table dropped_files as from sizes")
        self.connection.unregister("sizes")

    def describe(self) -> Plan:
        """Tell what goes, by source."""
        rows = self.connection.execute(
            """
            with events as (
                select
                    source_name,
                    count(distinct message_recipient_id) as messages,
                    count(*) as events,
                    min(event_at) as first_event_at,
                    max(event_at) as last_event_at
                from marts.marts.fct_delivery_events
                semi join closed using (message_group_id)
                group by source_name
            ),
            files as (
                select
                    source_name,
                    count(*) as files,
                    sum(landing_bytes) as landing_bytes,
                    sum(records_rejected) as rejected_records
                from intermediate.int_files__accounted
                inner join dropped_files using (file_digest)
                group by source_name
            )
            select
                source_name, coalesce(messages, 0), coalesce(events, 0), first_event_at, last_event_at,
                coalesce(files, 0), coalesce(landing_bytes, 0)::bigint, coalesce(rejected_records, 0)::bigint
            from events full join files using (source_name)
            order by source_name
            """
        ).fetchall()
        return Plan(self.cutoff, [SourcePlan(*row) for row in rows])

    def write(self) -> Retained:
        """Step 1: write what stays of all that was ever dropped as a new folder, whole or not at all."""
        previous = self.before.number if self.before else 0
        top = self.settings.retained
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = top / f"{UNFINISHED_PREFIX}{os.getpid()}"
        folder.mkdir(mode=0o700)
        rules.install(self.connection, find_project_directory())
        self.prepare()
        for table, query in {**self.queries(), DROPPED_GROUPS: "select message_group_id from closed"}.items():
            path = folder / f"{table}.parquet"
            self.connection.execute(f"copy ({query}) to {text(path)} (format parquet, compression zstd)")
            path.chmod(0o600)
            loads.sync(path)
        manifest = {"number": previous + 1, "previous": previous, "cutoff": self.cutoff.isoformat()}
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(json.dumps(manifest, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        loads.sync(folder)
        named = folder.rename(top / f"{previous + 1:06d}")
        loads.sync(top)
        return Retained(previous + 1, previous, self.cutoff, named)

    def prepare(self) -> None:
        """Make what several tables are written from: the events that go, with the text that rules judged."""
        self.connection.execute(
            """
            create temp table judged_texts as
            select text_id, min(bounce_text) as bounce_text, min(reason) as reason
            from intermediate.int_bounce_texts__judged
            group by text_id
            """
        )
        self.connection.execute(
            """
            create temp view going as
            select
                events.*,
                texts.bounce_text,
                case when events.text_id is not null
                    then mx_class_of(events.mx_host, events.recipient_domain)
                end as mx_class,
                case when events.reason is distinct from texts.reason then events.reason end as other_reason
            from marts.marts.fct_delivery_events as events
            semi join closed on events.message_group_id = closed.message_group_id
            left join judged_texts as texts on events.text_id = texts.text_id
            """
        )
        for table in TABLES:
            self.connection.execute(f"create temp view before_{table} as {select_retained(self.before, table)}")

    def queries(self) -> dict[str, str]:
        """SQL for each retained table: what was retained before, and what this pass adds."""
        grouping = ", ".join(GROUPING)
        delivery_sums = ", ".join(
            f"coalesce(sum({name}), 0)::bigint as {name}" for name in (*DELIVERY_COUNTS, "suppressed_send_count")
        )
        # a report that came apart counts for the message that it speaks of
        of_message = ", ".join(
            f"coalesce(links.{name}, going.{name}) as {name}"
            if name in {"campaign_id", "from_domain", "sending_ip"}
            else f"going.{name}"
            for name in GROUPING
        )
        waiting = waiting_sources(self.settings, self.connection)
        return {
            "bounce_counts": f"""
                select
                    event_date, {grouping}, bounce_class, bounce_text, mx_class,
                    sum(bounce_count)::bigint as bounce_count
                from (
                    select * from before_bounce_counts
                    union all by name
                    select
                        bounces.event_date, {", ".join(f"bounces.{name}" for name in GROUPING)}, bounces.bounce_class,
                        going.bounce_text, going.mx_class, 1 as bounce_count
                    from marts.marts.fct_bounces as bounces
                    inner join going on bounces.event_id = going.event_id
                )
                group by all""",
            "undelivery_counts": f"""
                select
                    undelivered_date, {grouping}, cause, bounce_class, bounce_text, mx_class, other_reason,
                    sum(undelivery_count)::bigint as undelivery_count
                from (
                    select * from before_undelivery_counts
                    union all by name
                    select
                        messages.undelivered_date,
                        {", ".join(f"messages.{name}" for name in GROUPING)}, messages.cause, messages.bounce_class,
                        going.bounce_text, going.mx_class, going.other_reason, 1 as undelivery_count
                    from marts.marts.fct_messages as messages
                    semi join closed on messages.message_group_id = closed.message_group_id
                    left join going on messages.deciding_event_id = going.event_id
                    where messages.outcome = 'undelivered'
                )
                group by all""",
            # a day's counts are sums over its events: those of the mart, written for these alone
            "delivery_counts": f"""
                select event_date, {grouping}, {delivery_sums}
                from (
                    select * from before_delivery_counts
                    union all by name
                    select going.event_date, {of_message}, {counted_deliveries()}
                    from going
                    left join intermediate.int_report_links__found as links on going.event_id = links.event_id
                    group by all
                    union all by name
                    select event_date, {grouping}, 1 as suppressed_send_count
                    from marts.marts.fct_suppressed_sends
                    semi join going using (event_id)
                )
                group by all""",
            "delivery_times": f"""
                select * exclude (delivered_count), sum(delivered_count)::bigint as delivered_count
                from (
                    select * from before_delivery_times
                    union all by name
                    select *, 1 as delivered_count from ({read_macros().delivery_times("going")})
                )
                group by all""",
            "texts": """
                select
                    bounce_text, mx_class, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at,
                    sum(event_count)::bigint as event_count
                from (
                    select * from before_texts
                    union all by name
                    select bounce_text, mx_class, event_at as first_seen_at, event_at as last_seen_at, 1 as event_count
                    from going
                    where text_id is not null
                )
                group by all""",
            "evidence": """
                with added as (
                    select *, 'hard_bounce' as cause
                    from going
                    where event_id in (select event_id from intermediate.int_suppression_evidence__collected)
                    union all by name
                    -- also of bounces that stay, as some of those that they followed may go
                    select
                        events.*, texts.bounce_text, mx_class_of(events.mx_host, events.recipient_domain) as mx_class,
                        'soft_bounces' as cause
                    from marts.marts.fct_delivery_events as events
                    inner join judged_texts as texts on events.text_id = texts.text_id
                    where events.event_id in (
                        select event_id from intermediate.int_suppression_causes__collected where cause = 'soft_bounces'
                    )
                )
                select * from before_evidence
                union all by name
                select
                    cause, event_id, source_name, event_at, event_type, recipient as address, recipient_domain, mx_host,
                    campaign_id, bounce_text, mx_class, response_text
                from added
                anti join before_evidence using (cause, event_id)
                where recipient is not null""",
            "complaints": """
                select * from before_complaints
                union all by name
                select event_id, source_name, event_at, recipient as address, recipient_domain, campaign_id
                from going
                where
                    event_id in (select event_id from intermediate.int_complaints__collected)
                    and event_id not in (select event_id from before_complaints)""",
            "opt_outs": "select opt_out_id, source_name, address, event_at, is_removal, why"
            " from intermediate.int_opt_outs__collected",
            # what a later delivery says of a bounce: it may take the address off the list again
            "deliveries": """
                with suspects as (
                    select address, min(event_at) as bounced_at
                    from (
                        select address, event_at from intermediate.int_suppression_evidence__collected
                        union all
                        select address, occurred_at
                        from intermediate.int_suppression_causes__collected
                        where cause = 'soft_bounces'
                    )
                    group by address
                )
                select * from before_deliveries
                union all by name
                select
                    going.recipient as address,
                    going.event_at as delivered_at,
                    coalesce(messages.outcome = 'delivered' and messages.delivered_at = going.event_at, false)
                    and row_number() over (
                        partition by going.message_recipient_id, going.event_at order by going.event_id
                    ) = 1 as is_outcome
                from going
                inner join suspects on going.recipient = suspects.address and going.event_at > suspects.bounced_at
                left join marts.marts.fct_messages as messages
                    on going.message_recipient_id = messages.message_recipient_id
                where going.event_type = 'delivered'""",
            # of whom there are events still, or who is in a ledger: the addresses of the others go
            "profiles": """
                with kept as (
                    select recipient as address, min(event_at) as first_seen_at, max(event_at) as last_seen_at
                    from marts.marts.fct_delivery_events
                    anti join closed using (message_group_id)
                    group by recipient
                )
                select profiles.address, profiles.first_seen_at, profiles.last_seen_at
                from marts.marts.dim_profiles as profiles
                left join kept using (address)
                where
                    (kept.address is not null or profiles.address in (
                        select address from intermediate.int_suppression_causes__collected
                    ))
                    and (
                        kept.first_seen_at is distinct from profiles.first_seen_at
                        or kept.last_seen_at is distinct from profiles.last_seen_at
                    )""",
            "files": f"""
                select * from before_files
                union all by name
                select {", ".join(name for name in TABLES["files"] if name != "dropped_at")}, {self.now()} as dropped_at
                from intermediate.int_files__accounted
                semi join dropped_files using (file_digest)""",
            "ignored": """
                select * from before_ignored
                union all by name
                select source_name, source_file, file_digest, native_event_type, ignored_record_count
                from intermediate.int_ignored_records__counted
                semi join dropped_files using (file_digest)""",
            "accounts": f"""
                select
                    source_name, source_file, {", ".join(f"sum({name})::bigint as {name}" for name in ACCOUNT_COUNTS)}
                from (
                    select * from before_accounts
                    union all by name
                    select source_name, source_file, 1 as united_event_count
                    from intermediate.int_delivery_events__united
                    semi join closed using (message_group_id)
                    union all by name
                    select
                        source_name, source_file, 1 as event_count,
                        (source_name = 'postfix' and event_type = 'expired')::bigint as concluded_event_count,
                        (event_type = 'injected')::bigint as injected_count,
                        (event_type = 'delivered')::bigint as delivered_count,
                        (event_type = 'deferred')::bigint as deferred_count,
                        (event_type = 'bounced')::bigint as bounced_count,
                        (event_type = 'expired')::bigint as expired_count,
                        (event_type = 'dropped')::bigint as dropped_count,
                        (event_type = 'out_of_band_bounce')::bigint as out_of_band_bounce_count,
                        (event_type = 'complaint')::bigint as complaint_count
                    from marts.marts.fct_delivery_events
                    semi join closed using (message_group_id)
                    union all by name
                    select
                        report_source_name as source_name, report_source_file as source_file,
                        (linked_by is not null)::bigint as joined_report_count,
                        (linked_by is null)::bigint as unjoined_report_count
                    from intermediate.int_report_links__found as links
                    semi join closed on links.report_message_group_id = closed.message_group_id
                )
                group by source_name, source_file""",
            # of the events that files may hold which stay: those of the times that the files speak of, and all of a
            # source of which a landed file waits that no build has looked into
            "event_keys": f"""
                with kept as (
                    select source_name, first_event_at, last_event_at
                    from intermediate.int_files__accounted
                    anti join dropped_files using (file_digest)
                    where dropped_at is null and first_event_at is not null
                    union all
                    select unnest([{waiting}]::varchar[]), timestamp '-infinity', timestamp 'infinity'
                ),
                joined as (
                    select *, coalesce(first_event_at > max(last_event_at) over (
                        partition by source_name
                        order by first_event_at, last_event_at
                        rows between unbounded preceding and 1 preceding
                    ), true) as is_first
                    from kept
                ),
                numbered as (
                    select *, count_if(is_first) over (
                        partition by source_name order by first_event_at, last_event_at rows unbounded preceding
                    ) as stretch
                    from joined
                ),
                stretches as (
                    select source_name, min(first_event_at) as starts_at, max(last_event_at) as ends_at
                    from numbered
                    group by source_name, stretch
                ),
                dropped as (
                    select * from before_event_keys
                    union
                    select source_name, event_at, event_id
                    from intermediate.int_delivery_events__united
                    semi join closed using (message_group_id)
                )
                select dropped.source_name, dropped.event_at, dropped.event_id
                from dropped
                asof join stretches
                    on dropped.source_name = stretches.source_name and dropped.event_at >= stretches.starts_at
                where dropped.event_at <= stretches.ends_at""",
        }

    def now(self) -> str:
        return f"timestamp {text(datetime.now(UTC).replace(tzinfo=None).isoformat(sep=' '))}"


def find_closed(connection: duckdb.DuckDBPyConnection, cutoff: datetime) -> None:
    """Make the table `closed`. What is open keeps open what is bound to it, however far."""
    connection.execute(
        """
        create temp table group_ends as
        select message_group_id, max(said_at) as ended_at
        from (
            select message_group_id, event_at as said_at from intermediate.int_delivery_events__united
            union all
            select message_group_id, fact_at from intermediate.int_postfix__queue_facts
            union all
            select message_group_id, fact_at from intermediate.int_exim__message_facts
        )
        group by message_group_id
        """
    )
    connection.execute(
        """
        create temp table closed as
        with recursive bonds as (
            select report_message_group_id as one, message_group_id as other
            from intermediate.int_report_links__found
            where linked_by is not null
            union
            select message_group_id, cast(fact_value as uuid)
            from intermediate.int_postfix__queue_facts
            where fact = 'origin'
        ),
        both_ways as (
            select one, other from bonds union select other, one from bonds
        ),
        held_open as (
            select both_ways.other as message_group_id
            from both_ways
            inner join group_ends on both_ways.one = group_ends.message_group_id
            where group_ends.ended_at >= $cutoff
            union
            select both_ways.other
            from held_open
            inner join both_ways on held_open.message_group_id = both_ways.one
        )
        select message_group_id
        from group_ends
        anti join held_open using (message_group_id)
        where ended_at < $cutoff and message_group_id is not null
        """,
        {"cutoff": cutoff},
    )


def counted_deliveries() -> str:
    """The counts of `int_delivery_events__counted` over events `going`, for a select list."""
    conditions = {
        "injected_count": "event_type = 'injected'",
        "attempt_count": "is_attempt",
        "delivered_count": "event_type = 'delivered'",
        "delivered_first_attempt_count": "event_type = 'delivered' and attempt_number = 1",
        "deferred_count": "event_type = 'deferred' and is_attempt",
        "deferred_first_attempt_count": "event_type = 'deferred' and attempt_number = 1",
        "bounced_count": "event_type = 'bounced'",
        "bounced_first_attempt_count": "event_type = 'bounced' and attempt_number = 1",
        "expired_count": "event_type = 'expired'",
        "dropped_count": "event_type = 'dropped'",
        "out_of_band_bounce_count": "event_type = 'out_of_band_bounce'",
        "complaint_count": "event_type = 'complaint'",
    }
    return ", ".join(f"count(*) filter ({conditions[name]}) as {name}" for name in DELIVERY_COUNTS)


def waiting_sources(settings: Settings, connection: duckdb.DuckDBPyConnection) -> str:
    """The sources of landed files that no build has taken in, as a list of SQL literals."""
    built = {row[0] for row in connection.execute("select file_digest from landing.built_files").fetchall()}
    kept = find_kept(settings, find_retained(settings))
    names = {load.source_name for load in kept if load.file_digest not in built}
    return ", ".join(map(text, sorted(names)))


def read_units(settings: Settings) -> Iterator[tuple[loads.Load, ...]]:
    """The loads of each load record of a log's files: of one content, or of a pack, whose Parquet files they share."""
    for source_name in SOURCES:
        for path in sorted((settings.landing / source_name).glob("*.json")):
            if unit := loads.read_record(path):
                yield unit


def drop_files(settings: Settings, retained: Retained) -> None:
    """Step 3: note in the load records that their files are dropped, and remove the files."""
    dropped = retained.dropped_digests
    dropped_at = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    for unit in read_units(settings):
        if not all(load.file_digest in dropped for load in unit):
            continue
        source_name, name = unit[0].source_name, unit[0].landing_name
        with hold_lock(settings, exclusive=True, kind="publish"):
            if not unit[0].dropped_at:
                loads.replace_record(settings, [replace(load, dropped_at=dropped_at) for load in unit])
            for path in (
                loads.landing_path(settings, source_name, name),
                loads.rejects_path(settings, source_name, name),
            ):
                path.unlink(missing_ok=True)
