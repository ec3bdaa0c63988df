"""The project's exposures as they stand in dbt's manifest.

A build hands them over with its results (flows/dbt_child.py). Where the files they stand in have changed since, or
nothing was built here, dbt is asked to parse the project, and nothing else.
"""

import hashlib
from typing import Any

from flows.dbt_process import LOG_NAME, read_results, warm_dbt
from flows.dbt_project import find_project_directory
from flows.problems import ActionableError, mask_addresses
from flows.settings import Settings

PARSED = "exposures"
"""In dbt's target folder: the one where it only parses, for the exposures' sake."""


def find_version() -> str:
    """Digest the project's YAML, where exposures stand."""
    project = find_project_directory()
    digest = hashlib.sha256()
    for path in [project / "dbt_project.yml", *sorted((project / "models").rglob("*.y*ml"))]:
        digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def read_exposures(settings: Settings) -> list[dict[str, Any]]:
    """Give `name`, `label`, `description`, `owner`, `meta` and `file` of each exposure that is not disabled.

    `ActionableError` where dbt cannot read its own project.
    """
    version = find_version()
    for target in (settings.dbt_target, settings.dbt_target / PARSED):
        found = read_results(target)
        if found.get("exposures_version") == version:
            return _in_order(found["exposures"])
    return _in_order(parse_project(settings)["exposures"])


def _in_order(exposures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(exposures, key=lambda exposure: str(exposure["name"]))


def parse_project(settings: Settings) -> dict[str, Any]:
    """Have dbt parse the project, beside what builds keep of it: their variables are others."""
    target = settings.dbt_target / PARSED
    done = warm_dbt(settings.dbt_target).run(["parse"], target=target)
    if "exposures" not in done.found:
        words = done.found.get("error") or " ".join(done.said.split()[-80:])
        raise ActionableError(
            f"dbt cannot read the exposures of {find_project_directory()}: {mask_addresses(str(words))}",
            f"put right what it names; {target / LOG_NAME} has the whole story",
        )
    return done.found
