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

LOGGED_LEVELS = ("info", "warn", "error")


def main(results_path: Path, log_path: Path, arguments: list[str]) -> None:
    """Run dbt with the arguments; write its log, and last, whole or not at all, its results as JSON.

    An object of `error`, null unless dbt gave up as a whole, and `results`: of each node `kind`, `name` (of a table's
    test, `rules of fct_bounces`), `status`, `message` and `seconds`; of a test that does not pass its `query`; of a
    mart its `description` and those of its `columns`.
    """
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.cli.main import dbtRunner

    # No model asks where the database lies: what dbt parsed for one home serves another.
    connection_keys: Any = DuckDBCredentials._connection_keys
    setattr(  # noqa: B010 - mypy refuses the plain assignment
        DuckDBCredentials, "_connection_keys", lambda self: [key for key in connection_keys(self) if key != "path"]
    )
    # what is imported stays until the end: no use in looking through it again and again
    gc.collect()
    gc.freeze()
    with log_path.open("w", encoding="utf-8") as log:
        outcome = dbtRunner(callbacks=[partial(_log, log, Lock())]).invoke(arguments)
    results: Any = outcome.result
    found = {
        "error": str(outcome.exception) if outcome.exception else None,
        "results": [_describe(result) for result in results.results] if results else [],
    }
    written = results_path.with_name(results_path.name + ".new")
    written.write_text(json.dumps(found), encoding="utf-8")
    written.replace(results_path)


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


if __name__ == "__main__":
    # nothing is to be tidied up: what dbt had not committed is not there
    end_with_parent(signal.SIGKILL)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
