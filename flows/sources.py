"""`sources.yml`: where logs lie besides the inbox, and what their records do not say by themselves."""

import re
from collections.abc import Iterable
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model

from flows.problems import ActionableError
from flows.settings import SOURCES, Settings

FILE_NAME = "sources.yml"


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone, such as Europe/Berlin") from None
    return name


def _named_group(pattern: str) -> str:
    """A VERP pattern is matched by the engine (RE2); what it must name is the message."""
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if set(groups) != {"message_id"} or re.compile(pattern).groups != 1:
        raise ValueError(f"{pattern!r} must have one group, (?P<message_id>…), and no other")
    return pattern


FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]+$")]
"""A landed column, or a key inside one that holds a JSON object: `headers.X-Campaign`."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
IpText = Annotated[str, AfterValidator(lambda text: str(ip_address(text)))]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/*-]+$")]
VerpPattern = Annotated[str, AfterValidator(_named_group)]


class SourceSettings(BaseModel):
    """What may be said of any source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: list[Path] = Field(default=[], description="further folders that are read like inbox/<source>")


class FieldSettings(SourceSettings):
    """Sources whose records may carry a campaign and a From domain, in fields that the sender chose."""

    campaign: list[FieldName] | None = Field(default=None, description="fields, the first that says something counts")
    from_domain: list[FieldName] | None = Field(default=None, description="likewise; of an address the domain counts")


class ZonedFieldSettings(FieldSettings):
    """The same, where times may lack their zone."""

    time_zone: TimeZone = "UTC"


class MailLogSettings(SourceSettings):
    """Logs of MTAs that name neither zone nor sending IP."""

    time_zone: TimeZone = "UTC"
    sending_ips: dict[HostName, IpText] = Field(default={}, description="by `host`, or by `host/syslog name`")


class PostfixSettings(MailLogSettings):
    """Postfix, which may hand mail over to a filter and take it back."""

    content_filters: list[HostName] = Field(
        default=["127.0.0.1:10024", "127.0.0.1:10025", "127.0.0.1:10026"],
        description="relays, `ip:port`, to which `sent` means handed over, not delivered",
    )


KINDS: dict[str, type[SourceSettings]] = {
    "postfix": PostfixSettings,
    "exim": MailLogSettings,
    "powermta": ZonedFieldSettings,
    "events": SourceSettings,
}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    verp: list[VerpPattern] = Field(default=[], description="patterns of return paths that carry the message id")

    def of(self, source_name: str) -> SourceSettings:
        settings: SourceSettings = getattr(self, source_name)
        return settings

    @cached_property
    def variables(self) -> dict[str, Any]:
        """What the models need, as dbt's variables `sources` and `verp_patterns`; only what was set."""
        chosen = {
            source: self.of(source).model_dump(mode="json", exclude={"folders"}, exclude_unset=True, exclude_none=True)
            for source in SOURCES
        }
        return {
            "sources": {source: settings for source, settings in chosen.items() if settings},
            # the engine's regular expressions know the group by its number
            "verp_patterns": [pattern.replace("(?P<message_id>", "(") for pattern in self.verp],
        }


_kinds: dict[str, Any] = {
    source: (KINDS.get(source, FieldSettings), KINDS.get(source, FieldSettings)()) for source in SOURCES
}
SourcesFile = create_model("SourcesFile", __base__=_File, **_kinds)


def read_sources(settings: Settings) -> _File:
    """Read `<home>/sources.yml`; without the file everything is as it is by default.

    Raises `ActionableError` that names the file and each key that is unknown or wrong.
    """
    path = settings.root / FILE_NAME
    remedy = f"put {path} right (docs/sources.md shows what it may hold), or remove it; nothing was changed"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SourcesFile()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ActionableError(f"{path} cannot be read: {' '.join(str(error).split())}", remedy) from None
    try:
        return SourcesFile.model_validate(content or {})
    except ValidationError as error:
        raise ActionableError(f"{path}: " + "; ".join(_explain(error.errors())), remedy) from None


def _explain(errors: Iterable[Any]) -> Iterable[str]:
    for error in errors:
        place = ".".join(str(part) for part in error["loc"]) or "the file"
        yield f"unknown key {place}" if error["type"] == "extra_forbidden" else f"{place}: {error['msg']}"
