"""The project's exposures as they stand in dbt's manifest.

A build hands them over with its results (flows/dbt_child.py). Where the files they stand in have changed since, or
nothing was built here, dbt is asked to parse the project, and nothing else.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flows.dbt_project import find_project_directory
from flows.problems import ActionableError, mask_addresses
from flows.settings import Settings

BUILT = Path("dbt") / "results.json"
PARSED = Path("dbt") / "exposures" / "results.json"
"""In `state/`: what dbt's process wrote when it built, and when it only parsed."""


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
    for path in (BUILT, PARSED):
        found = _read(settings.state / path)
        if found.get("exposures_version") == version:
            return _in_order(found["exposures"])
    return _in_order(parse_project(settings)["exposures"])


def _in_order(exposures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(exposures, key=lambda exposure: str(exposure["name"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def parse_project(settings: Settings) -> dict[str, Any]:
    """Have dbt parse the project, beside what builds keep of it: their variables are others."""
    results = settings.state / PARSED
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    project, target = find_project_directory(), results.parent
    command = [
        sys.executable, "-m", "flows.dbt_child", str(results), str(target / "dbt.log"), "parse",
        "--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target),
        "--no-write-json", "--log-level", "none", "--log-level-file", "none", "--log-path", str(target),
    ]  # fmt: skip
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1"}
    # its standard input stays open as long as we live: see flows/child.py
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said = process.stdout.read() if process.stdout else b""
    found = _read(results)
    if "exposures" not in found:
        words = found.get("error") or " ".join(said.decode(errors="replace").split()[-80:])
        raise ActionableError(
            f"dbt cannot read the exposures of {project}: {mask_addresses(str(words))}",
            f"put right what it names; {target / 'dbt.log'} has the whole story",
        )
    return found
