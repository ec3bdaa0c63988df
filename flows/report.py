"""The bounces report and its sibling, the undeliveries report: amounts by group, recipient domain and bounce text.

Both are exact: the amounts of a report add up to the rows of the facts that its settings select.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import pyarrow as pa

from flows.problems import ActionableError, WrongUsageError
from flows.settings import Settings
from flows.sql import text

Grouping = Literal["from_domain", "sending_ip"]
BounceClass = Literal["soft", "hard", "all"]

NOT_LOGGED = "(not logged)"
"""Shown for a group or domain that the source's log does not tell."""

FIRST_POSSIBLE_DAY = date(1970, 1, 1)
LAST_POSSIBLE_DAY = date(9998, 12, 31)
"""Beyond these a local midnight cannot be given in UTC."""


@dataclass(frozen=True)
class Selection:
    """What a report is asked for. `campaign` None is all campaigns; days are inclusive, in `time_zone`.

    `WrongUsageError` on a period that ends before it starts, or a time zone, grouping or class that does not exist.
    """

    first_day: date
    last_day: date
    campaign: str | None = None
    group_by: Grouping = "from_domain"
    bounce_class: BounceClass = "soft"
    is_undeliveries: bool = False
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.first_day > self.last_day:
            raise WrongUsageError(
                f"the period ends before it starts: --from {self.first_day} is after --to {self.last_day}",
                "give --from a day that is not after --to; both are inclusive",
            )
        if self.first_day < FIRST_POSSIBLE_DAY or self.last_day > LAST_POSSIBLE_DAY:
            raise WrongUsageError(
                f"a day of {self.first_day} to {self.last_day} is beyond {FIRST_POSSIBLE_DAY} to {LAST_POSSIBLE_DAY}",
                "give days within that range",
            )
        if self.group_by not in get_args(Grouping):
            raise WrongUsageError(f"no grouping is called {self.group_by!r}", f"take {' or '.join(get_args(Grouping))}")
        if self.bounce_class not in get_args(BounceClass):
            raise WrongUsageError(
                f"no class is called {self.bounce_class!r}", f"take {' or '.join(get_args(BounceClass))}"
            )
        find_time_zone(self.time_zone)

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.last_day - self.first_day).days + 1

    @property
    def subject(self) -> str:
        """What the amounts count."""
        return "undeliveries" if self.is_undeliveries else "bounces"

    def describe(self) -> str:
        """One line that says which rows the report covers."""
        campaign = "all campaigns" if self.campaign is None else f"campaign {self.campaign!r}"
        bounce_class = "" if self.bounce_class == "all" else f"{self.bounce_class} "
        return f"{bounce_class}{self.subject}, {self.first_day} to {self.last_day} ({self.time_zone}), {campaign}"


def find_time_zone(name: str) -> ZoneInfo:
    """Give the zone of an IANA name; `WrongUsageError` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError for names that look like paths, OSError for folders of the zone database such as `America`
        raise WrongUsageError(
            f"no time zone is called {name!r}", "give an IANA name, such as UTC, Europe/Berlin or America/New_York"
        ) from None


@contextmanager
def open_published(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Read the published database; `ActionableError` when there is none yet."""
    if not database.is_file():
        raise ActionableError(
            f"nothing is published yet: {database} does not exist", "start a run first: bouncehouse run"
        )
    try:
        connection = duckdb.connect(str(database), read_only=True)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise ActionableError(
            f"cannot open {database}: {reason}", "check that no other program has it open for writing, or run again"
        ) from error
    with connection:
        yield connection


@contextmanager
def hold_readable(settings: Settings) -> Iterator[Path]:
    """Give the published database, or a copy of it while a client has it open for writing and locks out all others.

    As long as the block runs no client can open it for writing.
    """
    database = settings.published_database
    try:
        held = duckdb.connect(database, read_only=True)
    except duckdb.Error as error:
        if "Could not set lock" not in str(error):
            raise
        copy = settings.state / f"{database.stem}.copy{database.suffix}"
        shutil.copyfile(database, copy)
        try:
            yield copy
        finally:
            copy.unlink()
        return
    with held:
        yield database


def choose_period(
    database: Path, *, first_day: date | None, last_day: date | None, days: int, time_zone: str = "UTC"
) -> tuple[date, date]:
    """Fill in what was not given: the period ends on the newest day that any source has data through, `days` long."""
    if last_day is None:
        last_day = find_newest_day(database, time_zone)
    if first_day is None:
        first_day = last_day - timedelta(days=days - 1)
    return first_day, last_day


def find_newest_day(database: Path, time_zone: str = "UTC") -> date:
    """Give the day of the newest data-through time over all sources, in the time zone; today where there is no data."""
    with open_published(database) as connection:
        row = connection.execute("select max(data_through_at)::timestamp from marts.ops_sources").fetchone()
    data_through_at = row[0] if row and row[0] else datetime.now(UTC).replace(tzinfo=None)
    newest: datetime = data_through_at.replace(tzinfo=UTC).astimezone(find_time_zone(time_zone))
    return newest.date()


def find_campaigns(database: Path, limit: int = 5) -> list[str]:
    """List the campaigns with most bounces and non-deliveries."""
    with open_published(database) as connection:
        rows = connection.execute(
            """
            with counted as (
                select campaign_id, bounce_count as amount from marts.rpt_bounces_daily
                union all
                select campaign_id, undelivery_count as amount from marts.rpt_undeliveries_daily
            )
            select campaign_id
            from counted
            where campaign_id is not null
            group by campaign_id
            order by sum(amount) desc, campaign_id
            limit ?
            """,
            [limit],
        ).fetchall()
    return [campaign for (campaign,) in rows]


def has_campaign(database: Path, campaign: str) -> bool:
    """Say whether any bounce or non-delivery belongs to the campaign."""
    with open_published(database) as connection:
        row = connection.execute(
            """
            select
                exists (select 1 from marts.rpt_bounces_daily where campaign_id = $campaign)
                or exists (select 1 from marts.rpt_undeliveries_daily where campaign_id = $campaign)
            """,
            {"campaign": campaign},
        ).fetchone()
    return bool(row and row[0])


def report(database: Path, selection: Selection, *, with_days: bool = False) -> pa.Table:
    """Count the selection in the published database, largest first, in an order that is total.

    Columns: `from_domain` or `sending_ip`, `recipient_domain`, `cause` (undeliveries only), `bounce_class`,
    `bounce_text` (masked), `description`, `reason`, `amount` (bigint), `sample_message` (one whole original reply) and,
    `with_days`, `amounts_by_day` (a map from the day's number, 0 the first, of the days that have any). A non-delivery
    without any reply has nulls from `bounce_class` to `reason`.
    """
    cause = "cause," if selection.is_undeliveries else ""
    with open_selected(database, selection) as connection:
        table: pa.Table = connection.execute(
            f"""
            with counted as (
                select
                    * exclude (day_number, amount),
                    sum(amount)::bigint as amount,
                    {"map_from_entries(list((day_number, amount))) as amounts_by_day," if with_days else ""}
                from selected
                group by all
            )

            select
                {selection.group_by},
                counted.recipient_domain,
                {cause}
                counted.bounce_class,
                texts.bounce_text,
                texts.description,
                counted.reason,
                counted.amount,
                texts.sample_text as sample_message,
                {"counted.amounts_by_day," if with_days else ""}
            from counted
            left join marts.dim_bounce_texts as texts on texts.text_id = counted.text_id
            order by
                counted.amount desc,
                {selection.group_by},
                counted.recipient_domain,
                {cause}
                counted.bounce_class,
                texts.bounce_text,
                counted.reason,
                counted.text_id
            """
        ).to_arrow_table()
    return table


def count_by_day(database: Path, selection: Selection) -> pa.Table:
    """Count the selection by day and reason: `day`, `reason` (null of non-deliveries without a reply), `amount`."""
    with open_selected(database, selection) as connection:
        table: pa.Table = connection.execute(
            """
            select ?::date + day_number::integer as day, reason, sum(amount)::bigint as amount
            from selected
            group by all
            order by day, reason
            """,
            [selection.first_day],
        ).to_arrow_table()
    return table


@contextmanager
def open_selected(database: Path, selection: Selection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Read the published database with what is selected, counted, in the temporary table `selected`.

    Columns: `day_number` (0 is the first day), the group, `recipient_domain`, `cause` (undeliveries only),
    `bounce_class`, `text_id`, `reason`, `amount`; each combination once.

    In UTC the daily mart is read. The days of another time zone are not its days, so the facts are read then, between
    the instants of the local midnights; that keeps days of 23 and 25 hours right. `ActionableError` where retention has
    dropped facts of that period.
    """
    parameters: dict[str, object] = {"campaign": selection.campaign, "bounce_class": selection.bounce_class}
    is_utc = selection.time_zone == "UTC"
    if is_utc:
        source = "rpt_undeliveries_daily" if selection.is_undeliveries else "rpt_bounces_daily"
        amount = "sum(undelivery_count)" if selection.is_undeliveries else "sum(bounce_count)"
        day = "undelivered_date" if selection.is_undeliveries else "event_date"
        day_number = f"{day} - $first_day::date"
        period = f"{day} between $first_day and $last_day"
        parameters |= {"first_day": selection.first_day, "last_day": selection.last_day}
    else:
        moment = "undelivered_at" if selection.is_undeliveries else "event_at"
        facts = "fct_non_deliveries" if selection.is_undeliveries else "fct_bounces"
        source = f"{facts} asof join local_days on {moment} >= local_days.starts_at"
        amount, day_number = "count(*)", "local_days.day_number"
        period = f"{moment} >= $starts_at and {moment} < $ends_at"
        starts_at, ends_at = find_instants(selection)
        parameters |= {"starts_at": starts_at, "ends_at": ends_at}
        check_facts_are_kept(database, starts_at)
    with open_published(database) as connection:
        if not is_utc:
            kept = connection.execute(f"select min({moment}), max({moment}) from marts.{facts}").fetchone()
            connection.register("local_days", _make_local_days(selection, *(kept or (None, None))))
        connection.execute(
            f"""
            create temporary table selected as
            select
                ({day_number})::bigint as day_number,
                coalesce({selection.group_by}, {text(NOT_LOGGED)}) as {selection.group_by},
                coalesce(recipient_domain, {text(NOT_LOGGED)}) as recipient_domain,
                {"cause," if selection.is_undeliveries else ""}
                bounce_class,
                text_id,
                reason,
                {amount}::bigint as amount,
            from marts.{source}
            where
                {period}
                and ($campaign::varchar is null or campaign_id = $campaign)
                and ($bounce_class = 'all' or bounce_class = $bounce_class)
            group by all
            """,
            parameters,
        )
        yield connection


def check_facts_are_kept(database: Path, starts_at: datetime) -> None:
    """Raise `ActionableError` where retention has dropped facts that are not older than `starts_at` (UTC, naive)."""
    with open_published(database) as connection:
        known = connection.execute(
            """select 1 from information_schema.columns
            where table_schema = 'marts' and table_name = 'ops_publication' and column_name = 'facts_from'"""
        ).fetchone()
        row = connection.execute("select facts_from from marts.ops_publication").fetchone() if known else None
    if row and row[0] and starts_at.date() < row[0]:
        raise ActionableError(
            f"before {row[0]} only counts by day of UTC are kept, and the period begins at {starts_at} UTC",
            "ask for the report in UTC, or of later days",
        )


def find_instants(selection: Selection) -> tuple[datetime, datetime]:
    """Give the UTC instants, naive as in the facts, of local midnight of the first day and of the day after the last.

    A midnight that summer time skips is the instant of the change; one that comes twice is the earlier.
    """
    zone = find_time_zone(selection.time_zone)
    return _find_midnight(selection.first_day, zone), _find_midnight(selection.last_day + timedelta(days=1), zone)


def _find_midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC).replace(tzinfo=None)


def _make_local_days(selection: Selection, oldest: datetime | None, newest: datetime | None) -> pa.Table:
    """The days of the period in which there can be a fact: `day_number` (0 is the period's first), `starts_at`."""
    zone, one_day = find_time_zone(selection.time_zone), timedelta(days=1)
    first = max(selection.first_day, oldest.date() - one_day) if oldest else selection.first_day
    last = min(selection.last_day, newest.date() + one_day) if newest else first
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return pa.table(
        {
            "day_number": pa.array([(day - selection.first_day).days for day in days], pa.int64()),
            "starts_at": pa.array([_find_midnight(day, zone) for day in days], pa.timestamp("us")),
        }
    )
