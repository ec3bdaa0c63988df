"""Landing: raw log files to Parquet, each content once, with every record landed or rejected."""

from flows.landing.damage import LandingDamagedError, find_damages, set_unreadable_aside
from flows.landing.inbox import (
    Arrival,
    Arrivals,
    InboxMissing,
    Known,
    Unreadable,
    find_actions,
    find_arrivals,
    remember,
)
from flows.landing.land import LANDING_COLUMNS, REJECT_COLUMNS, Outcome, land_file, land_files
from flows.landing.loads import Load, read_loads

__all__ = [
    "LANDING_COLUMNS",
    "REJECT_COLUMNS",
    "Arrival",
    "Arrivals",
    "InboxMissing",
    "Known",
    "LandingDamagedError",
    "Load",
    "Outcome",
    "Unreadable",
    "find_actions",
    "find_arrivals",
    "find_damages",
    "land_file",
    "land_files",
    "read_loads",
    "remember",
    "set_unreadable_aside",
]
