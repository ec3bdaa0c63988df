"""Taking back in bulk what a provider's bad day did: hard bounces of a wave that are not to count any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from flows.dbt_project import find_project_directory
from flows.problems import WrongUsageError
from flows.rules import read_rule_set
from flows.settings import Settings
from flows.sql import text
from flows.suppression.actions import append_record, start_record
from flows.suppression.current import lay_out, open_current

SAMPLES = 5
LARGEST_GROUPS = 10


@dataclass(frozen=True)
class Recovery:
    """Which hard bounces are meant: `from_at` <= time < `until_at`, UTC and naive, and all else that is not None.

    A bounce out of band belongs to the wave up to `margin_hours` after it. `provider` is an id of
    seeds/mailbox_providers.csv, `pattern` is RE2 on the original reply, without regard to case.
    """

    from_at: datetime
    until_at: datetime
    margin_hours: float = 72
    recipient_domain: str | None = None
    provider: str | None = None
    pattern: str | None = None
    bounce_reason: str | None = None


@dataclass(frozen=True)
class Preview:
    """What a recovery does: `bounces` that it covers, addresses that leave the list, and those that stay.

    `staying` counts those by the causes that still hold them. `groups` are (what, value, bounces, addresses) of the
    leaving, by domain, provider and reply, the largest of each. `samples` are (address, when, reply).
    """

    bounces: int
    leaving: int
    staying: dict[str, int]
    already_off: int
    groups: list[tuple[str, str, int, int]]
    samples: list[tuple[str, datetime, str]]


def check_recovery(connection: duckdb.DuckDBPyConnection, recovery: Recovery) -> None:
    """`WrongUsageError` on what cannot be meant: a period that ends first, an unknown provider, a bad pattern."""
    if recovery.from_at >= recovery.until_at:
        raise WrongUsageError(
            f"the period ends before it starts: --from {recovery.from_at} is not before --until {recovery.until_at}",
            "give --until a later time; it is exclusive",
        )
    if not 0 <= recovery.margin_hours <= 24 * 366:
        raise WrongUsageError(f"--margin-hours cannot be {recovery.margin_hours}", "give 0 to 8784")
    rules = read_rule_set(find_project_directory())
    for option, value, known in (
        ("--provider", recovery.provider, [row["provider"] for row in rules.providers]),
        ("--reason", recovery.bounce_reason, list(rules.reasons)),
    ):
        if value is not None and value not in known:
            raise WrongUsageError(f"{option} {value!r} is not known", f"take one of {', '.join(sorted(known))}")
    if recovery.pattern is not None:
        try:
            connection.execute("select regexp_matches('', '(?is)' || $1::varchar)", [recovery.pattern])
        except duckdb.Error as error:
            raise WrongUsageError(
                f"--pattern {recovery.pattern!r} is no regular expression: {str(error).splitlines()[0]}",
                "write it as RE2 does, https://github.com/google/re2/wiki/Syntax",
            ) from error


def preview(settings: Settings, recovery: Recovery) -> Preview:
    """Say what the recovery would do to the list as it stands now, other actions that wait included."""
    with open_current(settings) as current:
        connection = current.connection
        check_recovery(connection, recovery)
        connection.execute(
            """
            create temp table pending_after as
            select * from pending
            union all by name
            select
                'preview' as action_id, 'recover' as action, 'suppression' as list_name, $now::timestamp as acted_at,
                '' as acted_by, '' as why, $from_at::timestamp as from_at, $until_at::timestamp as until_at,
                $margin::double as margin_hours, lower($domain::varchar) as recipient_domain,
                $provider::varchar as provider, $pattern::varchar as pattern, $reason::varchar as bounce_reason
            """,
            {
                "now": datetime.now(UTC).replace(tzinfo=None),
                "from_at": recovery.from_at,
                "until_at": recovery.until_at,
                "margin": recovery.margin_hours,
                "domain": recovery.recipient_domain,
                "provider": recovery.provider,
                "pattern": recovery.pattern,
                "reason": recovery.bounce_reason,
            },
        )
        connection.execute("create temp table only_this as select * from pending_after where action_id = 'preview'")
        lay_out(connection, pending="only_this", prefix="this_")
        lay_out(connection, pending="pending_after", prefix="after_")
        connection.execute(
            """
            create temp table covered as
            select
                causes.* replace (coalesce(causes.provider, '(other)') as provider),
            from marts.fct_suppression_causes as causes
            inner join this_reverted as reverted on causes.cause_id = reverted.cause_id
            """
        )
        connection.execute(
            """
            create temp table outcomes as
            select
                addresses.address,
                before.address is not null as was_on,
                after.address is not null as stays,
                holders.causes
            from (select distinct address from covered) as addresses
            left join suppressed as before on addresses.address = before.address
            left join after_suppressed as after on addresses.address = after.address
            left join (
                select address, string_agg(distinct cause, ', ' order by cause) as causes
                from after_causes_now as facts
                where
                    list_name = 'suppression' and not is_removal and ends_at is null
                    and not exists (
                        select 1 from after_causes_now as removals
                        where
                            removals.list_name = 'suppression' and removals.address = facts.address
                            and removals.is_removal and removals.occurred_at >= facts.occurred_at
                    )
                group by address
            ) as holders on addresses.address = holders.address
            """
        )
        counts = connection.execute(
            """
            select
                (select count(*) from covered), count(*) filter (was_on and not stays), count(*) filter (not was_on)
            from outcomes
            """
        ).fetchone() or (0, 0, 0)
        staying = connection.execute(
            "select causes, count(*) from outcomes where was_on and stays group by 1 order by 2 desc, 1"
        ).fetchall()
        leaving = "covered semi join (select address from outcomes where was_on and not stays) as gone using (address)"
        groups: list[tuple[str, str, int, int]] = []
        for what, value in (
            ("domain", "recipient_domain"),
            ("provider", "provider"),
            ("reply", "coalesce(texts.bounce_text, response_text, '(none)')"),
        ):
            groups += connection.execute(
                f"""
                select {text(what)}, {value}, count(*), count(distinct address)
                from {leaving} left join marts.dim_bounce_texts as texts on covered.text_id = texts.text_id
                group by 2 order by 4 desc, 2 limit {LARGEST_GROUPS}
                """
            ).fetchall()
        samples = connection.execute(
            f"""
            select address, occurred_at, coalesce(response_text, '') from {leaving}
            qualify row_number() over (partition by address order by occurred_at, cause_id) = 1
            order by hash(address), address limit {SAMPLES}
            """
        ).fetchall()
    return Preview(
        bounces=counts[0],
        leaving=counts[1],
        staying=dict(staying),
        already_off=counts[2],
        groups=groups,
        samples=samples,
    )


def apply(settings: Settings, recovery: Recovery, *, by: str, why: str) -> Path:
    """Write the recovery down as an action; gives the file."""
    record = start_record("recover", by=by, reason=why)
    record |= {"from": _iso(recovery.from_at), "until": _iso(recovery.until_at), "margin_hours": recovery.margin_hours}
    optional: Sequence[tuple[str, str | None]] = (
        ("recipient_domain", recovery.recipient_domain),
        ("provider", recovery.provider),
        ("pattern", recovery.pattern),
        ("bounce_reason", recovery.bounce_reason),
    )
    record |= {name: value for name, value in optional if value is not None}
    return append_record(settings, record)


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat()
