"""dbt in a process of its own, which `flows/build.py` starts: `python -m flows.dbt_child RESULTS LOG ARGUMENT…`.

By dbt's programmatic interface, because what dbt itself writes of a build of many small steps (its log, its manifest,
twice, and its run results) is a good part of what the build costs: only what the job needs is written down.
"""

import gc
import json
import signal
import sys
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, Any

from flows.child import end_with_parent
from flows.exports.exposures import find_version

LOGGED_LEVELS = ("info", "warn", "error")


PROGRESS_NAME = "progress"
"""Beside the results, while dbt runs: how many nodes are through, and how many there are."""


def main(results_path: Path, log_path: Path, arguments: list[str]) -> None:
    """Run dbt with the arguments; write its log, and last, whole or not at all, its results as JSON.

    An object of `error`, null unless dbt gave up as a whole, and `results`: of each node `kind`, `name` (of a table's
    test, `rules of fct_bounces`), `status`, `message` and `seconds`; of a test that does not pass its `query`; of a
    mart its `description` and those of its `columns`. `exposures` are those of the manifest, and `exposures_version`
    tells of which files (flows/exports/exposures.py); of a `parse` there is nothing else.
    """
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.artifacts.schemas.run import RunExecutionResult
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    # No model asks where the databases lie: what dbt parsed for one home serves another.
    connection_keys: Any = DuckDBCredentials._connection_keys
    setattr(  # noqa: B010 - mypy refuses the plain assignment
        DuckDBCredentials,
        "_connection_keys",
        lambda self: [key for key in connection_keys(self) if key not in ("path", "attach")],
    )
    # what is imported stays until the end: no use in looking through it again and again
    gc.collect()
    gc.freeze()
    version = find_version()
    with log_path.open("w", encoding="utf-8") as log:
        lock = Lock()
        callbacks: list[Any] = [partial(_log, log, lock), Progress(results_path.with_name(PROGRESS_NAME), lock).hear]
        outcome = dbtRunner(callbacks=callbacks).invoke(arguments)
    found: dict[str, Any] = {"error": str(outcome.exception) if outcome.exception else None, "results": []}
    if isinstance(outcome.result, RunExecutionResult):
        nodes: list[Any] = [result.node for result in outcome.result.results]
        found["results"] = [_describe(result) for result in outcome.result.results]
    elif isinstance(outcome.result, Manifest):
        nodes = [*outcome.result.exposures.values()]
    if outcome.result is not None:
        found["exposures_version"] = version
        found["exposures"] = [_describe_exposure(node) for node in nodes if node.resource_type == "exposure"]
    written = results_path.with_name(results_path.name + ".new")
    written.write_text(json.dumps(found), encoding="utf-8")
    written.replace(results_path)


class Progress:
    """Notes in a file how far dbt is."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path, self.lock, self.done, self.total = path, lock, 0, 0

    def hear(self, event: Any) -> None:
        """Count the nodes that are through, by dbt's events."""
        if event.info.name not in ("ConcurrencyLine", "NodeFinished"):
            return
        with self.lock:
            if event.info.name == "ConcurrencyLine":
                self.total = event.data.node_count
            else:
                self.done += 1
            self.path.write_text(f"{self.done} {self.total}", encoding="ascii")


def _log(log: IO[str], lock: Lock, event: Any) -> None:
    # dbt's threads call this, and a text file that two of them write to comes out with foreign memory in it
    if event.info.level in LOGGED_LEVELS:
        line = f"{event.info.ts.ToJsonString()} [{event.info.level}] {event.info.msg}\n"
        with lock:
            log.write(line)


def _describe(result: Any) -> dict[str, Any]:
    node, status = result.node, str(result.status)
    table = getattr(node, "attached_node", None)
    described = {
        "kind": str(node.resource_type),
        "name": f"{node.test_metadata.name} of {table.split('.')[-1]}" if table else node.name,
        "status": status,
        "message": result.message,
        "seconds": result.execution_time,
    }
    if node.resource_type == "test" and status != "pass":
        described["query"] = node.compiled_code
    if node.resource_type == "model" and node.schema == "marts":
        described["description"] = node.description
        described["columns"] = {column.name: column.description for column in node.columns.values()}
    return described


def _describe_exposure(node: Any) -> dict[str, Any]:
    return {
        "name": node.name,
        "label": node.label,
        "description": node.description,
        "owner": {"name": node.owner.name, "email": node.owner.email},
        "meta": node.config.meta or node.meta,
        "file": node.original_file_path,
    }


if __name__ == "__main__":
    # nothing is to be tidied up: what dbt had not committed is not there
    end_with_parent(signal.SIGKILL)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
