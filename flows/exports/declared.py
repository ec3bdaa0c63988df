"""Which files are exported: what dbt's exposures declare, the project's and those in `<home>/exposures.yml`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from flows.exports.contents import TableFormat
from flows.exports.exposures import read_exposures
from flows.problems import ActionableError, WrongUsageError
from flows.report import BounceClass, Grouping, Selection, find_time_zone
from flows.settings import Settings

FILE_NAME = "exposures.yml"
EXPORT_KEY = "export"
"""Under an exposure's `config.meta`, or `meta`: those without it are not ours to write."""

Format = TableFormat | Literal["html"]
"""`html` is the page (flows/page), which holds every campaign, class and group."""

Schedule = Literal["daily", "weekly", "monthly"]

_NAME = re.compile(r"[A-Za-z0-9_]+")
"""As dbt has it; a name becomes a file's."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ExportSettings(BaseModel):
    """What stands under `export`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    report: Literal["bounces", "undeliveries", "suppression_list"]
    group_by: Annotated[tuple[Grouping, ...], BeforeValidator(_as_list), Field(min_length=1)] = ("from_domain",)
    bounce_class: BounceClass | None = Field(default=None, alias="class")
    campaign: str | None = None
    time_zone: str = "UTC"
    schedule: Schedule = "daily"
    days: int | None = Field(default=None, ge=1, le=3660)
    formats: Annotated[tuple[Format, ...], BeforeValidator(_as_list), Field(min_length=1)] = ("csv", "xlsx", "parquet")
    excel_safe: bool | None = None
    workbook_rows: int | None = Field(default=None, ge=1)
    destinations: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = ()

    @field_validator("group_by", "formats")
    @classmethod
    def _has_each_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names something twice")
        return values

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            find_time_zone(name)
        except WrongUsageError as error:
            raise ValueError(f"{error.cause}: {error.remedy}") from None
        return name

    @model_validator(mode="after")
    def _fits_its_report(self) -> Self:
        periodic = {"group_by", "bounce_class", "campaign", "time_zone", "schedule", "days"} & self.model_fields_set
        if self.report == "suppression_list" and periodic:
            names = ", ".join(sorted(name.removeprefix("bounce_") for name in periodic))
            raise ValueError(f"the suppression list has no {names}: it is written whole, as it is published")
        if self.report != "suppression_list" and self.workbook_rows is not None:
            raise ValueError("workbook_rows goes with report suppression_list: a report is never that long")
        is_chosen = self.report != "bounces" or {"bounce_class", "campaign", "time_zone"} & self.model_fields_set
        if "html" in self.formats and is_chosen:
            raise ValueError(
                "html goes with report bounces, without class, campaign and time_zone: the page holds them all, in UTC"
            )
        return self


@dataclass(frozen=True)
class Declared:
    """An exposure that is to be exported; `file` is where it stands."""

    name: str
    label: str
    owner: str
    file: str
    settings: ExportSettings

    def select(self, period: tuple[date, date], group_by: Grouping) -> Selection:
        """The selection of its report, in one of its groupings."""
        is_undeliveries = self.settings.report == "undeliveries"
        return Selection(
            *period,
            campaign=self.settings.campaign,
            group_by=group_by,
            bounce_class=self.settings.bounce_class or ("all" if is_undeliveries else "soft"),
            is_undeliveries=is_undeliveries,
            time_zone=self.settings.time_zone,
        )

    def name_file(self, format_name: Format, group_by: Grouping | None = None) -> str:
        """The file's name: with the grouping where it has several, which a workbook has as sheets."""
        is_one_of_many = group_by is not None and len(self.settings.group_by) > 1
        return f"{self.name}{f'_by_{group_by}' if is_one_of_many else ''}.{format_name}"

    def name_files(self) -> list[str]:
        """All its files."""
        return [
            self.name_file(format_name, group_by)
            for format_name in self.settings.formats
            for group_by in (self.settings.group_by if format_name in ("csv", "parquet") else (None,))
        ]


def find_period(schedule: Schedule, days: int | None, newest: date, published: date) -> tuple[date, date]:
    """The days that a report covers, inclusive.

    `newest` is the newest day with data, on which a daily report ends. A weekly one is of the last week (Monday to
    Sunday) that the data reach the end of and that was over on the day of the publication, a monthly one likewise;
    `days` says how many days up to that end instead.
    """
    last = newest if schedule == "daily" else min(newest, published - timedelta(days=1))
    first = last
    if schedule == "weekly":
        last -= timedelta(days=(last.weekday() + 1) % 7)
        first = last - timedelta(days=6)
    elif schedule == "monthly":
        next_day = last + timedelta(days=1)
        last = next_day.replace(day=1) - timedelta(days=1)
        first = last.replace(day=1)
    return (first, last) if days is None else (last - timedelta(days=days - 1), last)


def read_declared(settings: Settings) -> list[Declared]:
    """Read what is to be exported, by name; what the home declares takes the place of the project's of that name.

    `ActionableError` names the file, the exposure and what is wrong with it.
    """
    found = {exposure["name"]: check_exposure(settings, exposure) for exposure in read_exposures(settings)}
    found |= read_own(settings)
    declared = [each for _, each in sorted(found.items()) if each]
    names: dict[str, Declared] = {}
    for each in declared:
        for name in each.name_files():
            if name in names:
                raise _wrong(each.file, each.name, f"writes {name}, which {names[name].name} writes too")
            names[name] = each
    return declared


def read_own(settings: Settings) -> dict[str, Declared | None]:
    """The exposures of `<home>/exposures.yml`, in dbt's form; None of those that are disabled."""
    path = settings.root / FILE_NAME
    remedy = f"put {path} right (docs/exports.md shows what it may hold), or remove it; nothing was exported"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ActionableError(f"{path} cannot be read: {' '.join(str(error).split())}", remedy) from None
    listed = (content or {}).get("exposures", []) if isinstance(content, dict | None) else None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ActionableError(f"{path} has no list `exposures` of exposures", remedy)
    if unknown := sorted(map(str, set(content or {}) - {"version", "exposures"})):
        raise ActionableError(f"{path}: unknown key {', '.join(unknown)}", remedy)
    found: dict[str, Declared | None] = {}
    for number, exposure in enumerate(listed, start=1):
        name = exposure.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong(str(path), f"number {number}", f"name is {name!r}; letters, digits and _ make a name")
        if name in found:
            raise _wrong(str(path), name, "is there twice")
        found[name] = check_exposure(settings, {**exposure, "file": str(path)}, is_own=True)
    return found


def check_exposure(settings: Settings, exposure: Mapping[str, Any], *, is_own: bool = False) -> Declared | None:
    """Read what an exposure declares; None where that is no export, or it is disabled."""
    file, name = exposure["file"], exposure["name"]
    config = exposure.get("config") or {}
    owner = exposure.get("owner") or {}
    if not isinstance(config, dict) or not isinstance(owner, dict):
        raise _wrong(file, name, "`config` and `owner` have keys of their own")
    if config.get("enabled") is False:
        return None
    meta = config.get("meta") or exposure.get("meta") or {}
    if not isinstance(meta, dict) or EXPORT_KEY not in meta:
        if is_own:
            raise _wrong(file, name, f"has nothing under config: meta: {EXPORT_KEY}:")
        return None
    if not (owner_name := owner.get("name") or owner.get("email")):
        raise _wrong(file, name, "has no owner with a name or an email")
    try:
        chosen = ExportSettings.model_validate(meta[EXPORT_KEY])
    except ValidationError as error:
        raise _wrong(file, name, "; ".join(_explain(each) for each in error.errors())) from None
    check_destinations(settings, file, name, chosen.destinations)
    return Declared(name, str(exposure.get("label") or name), str(owner_name), file, chosen)


def check_destinations(settings: Settings, file: str, name: str, destinations: Sequence[Path]) -> None:
    """Refuse folders of the home that are kept for something else, where no erasure would look or a run would clean."""
    for path in (settings.root / destination for destination in destinations):
        if path.resolve().is_relative_to(settings.root):
            raise _wrong(
                file, name, f"destination {path} lies in the home, where {settings.exports} has the file already"
            )


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or EXPORT_KEY
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"unknown key {place}" if error["type"] == "extra_forbidden" else f"{place}: {message}"


def _wrong(file: str, name: str, what: str) -> ActionableError:
    return ActionableError(
        f"{file}: exposure {name}: {what}", "put it right; docs/exports.md shows what an exposure may hold"
    )
