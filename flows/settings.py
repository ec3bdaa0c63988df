"""Settings of one run: where things lie and how the warehouse is to judge. Made once, at the edge, and passed down."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SOURCES = (
    "kumomta",
    "powermta",
    "postfix",
    "exim",
    "ses",
    "sendgrid",
    "mailgun",
    "sparkpost",
    "postmark",
    "dsn",
    "events",
)
"""Names of the senders' logs: the folders under `inbox/`."""

ACTIONS = "actions"
"""Landed like a source, but it comes from `<home>/actions/` and holds what administrators decided."""

SUPPRESSION_SETTINGS = (
    "suppression_policy",
    "soft_bounce_days",
    "soft_bounce_window_days",
    "suppression_expiry_days",
    "is_reactivated_on_delivery",
)
"""Settings that decide what puts an address on the suppression list, and dbt's variables of the same names."""


class Settings(BaseSettings):
    """Values come from arguments, then from `BOUNCEHOUSE_*` in the environment, then from the defaults here."""

    model_config = SettingsConfigDict(env_prefix="BOUNCEHOUSE_", frozen=True, extra="ignore")

    home: Path = Path("data")
    inbox_directory: Path | None = Field(default=None, description="read raw logs from here instead of `<home>/inbox`")
    suppression_policy: Literal["smtp_5xx", "recipient"] = "smtp_5xx"
    soft_bounce_days: int = Field(
        default=0, ge=0, description="soft bounces on so many days suppress too, with no delivery between; 0: never"
    )
    soft_bounce_window_days: int = Field(default=30, ge=1, description="the days within which those days lie")
    suppression_expiry_days: int = Field(
        default=0, ge=0, description="days after its last bounce when an address comes off the list by itself; 0: never"
    )
    is_reactivated_on_delivery: bool = Field(
        default=False, description="whether a later delivery takes an address off the list"
    )
    retention_days: int = Field(
        default=0, ge=0, description="days after which messages are dropped, by the clock on the wall; 0: never"
    )
    retention_every_days: int = Field(
        default=0, ge=0, description="days from one pass of retention to the next, at least; 0: every run makes one"
    )
    threads: int | None = Field(default=None, ge=1, description="DuckDB threads while landing; one per core unless set")
    memory_limit: str = Field(default="2GB", description="DuckDB memory limit, in DuckDB's own spelling")
    inflation_limit: int = Field(
        default=200, ge=1, description="a compressed file is read up to so many times its size, and always up to 1 GiB"
    )
    report_days: int = Field(default=30, ge=1, description="days that the exported reports cover")
    dated_exports_days: int = Field(
        default=14, ge=0, description="days for which dated copies of the exports are kept; 0: none are made"
    )
    readable_by: Literal["owner", "group"] = Field(
        default="owner", description="who may read the files of the home: they hold addresses"
    )

    @property
    def umask(self) -> int:
        """What is taken from the permissions of every file that is made."""
        return 0o077 if self.readable_by == "owner" else 0o027

    @property
    def suppression_variables(self) -> dict[str, str | int | bool]:
        """What the models need to know of the policy."""
        return self.model_dump(include=set(SUPPRESSION_SETTINGS))

    @field_validator("home")
    @classmethod
    def _has_no_pattern(cls, home: Path) -> Path:
        if set("*?[") & set(str(home)):  # the engine would take the path for a pattern
            raise ValueError(f"the home's path may not hold *, ? or [: {home}")
        return home

    @field_validator("retention_days")
    @classmethod
    def _looks_back_far_enough(cls, retention_days: int, info: ValidationInfo) -> int:
        window = info.data.get("soft_bounce_window_days", 0)
        if info.data.get("soft_bounce_days") and 0 < retention_days < window:
            raise ValueError(f"soft bounces are counted over {window} days, so it may not be less")
        return retention_days

    @cached_property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def inbox(self) -> Path:
        return self.inbox_directory.expanduser().resolve() if self.inbox_directory else self.root / "inbox"

    @property
    def actions(self) -> Path:
        return self.root / "actions"

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def provider_totals(self) -> Path:
        """What providers say they counted, kept by the user: see flows/provider_totals.py."""
        return self.root / "provider_totals.csv"

    @property
    def restatements(self) -> Path:
        """What publications changed of days that were published before: see flows/restatements.py."""
        return self.landing / "restatements.parquet"

    @property
    def rejects(self) -> Path:
        return self.root / "rejects"

    @property
    def state(self) -> Path:
        """Caches and logs: deleting them costs time, never data."""
        return self.root / "state"

    @property
    def dbt_target(self) -> Path:
        """Where dbt builds: what it parsed, its log and its results."""
        return self.state / "dbt"

    @property
    def work_database(self) -> Path:
        return self.root / "work.duckdb"

    @property
    def marts_database(self) -> Path:
        """The marts as they are built, private as the other; one pair with it (flows/pair.py)."""
        return self.root / "marts.duckdb"

    @property
    def published_database(self) -> Path:
        return self.root / "bouncehouse.duckdb"

    @property
    def former_database(self) -> Path:
        """The file that was published before, where it is large: the next one is written over it (flows/publish.py)."""
        return self.root / "bouncehouse.former.duckdb"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the home that are the product's own; the inbox is the sender's."""
        return (self.landing, self.rejects, self.retained, self.actions, self.state, self.exports)

    @property
    def retained(self) -> Path:
        """What stays of messages that retention has dropped: see flows/retained.py."""
        return self.root / "retained"

    @property
    def exports(self) -> Path:
        return self.root / "exports"
