"""dbt in a process of its own, which `flows/dbt_process.py` starts: it imports dbt, and runs it in forks of itself.

By dbt's programmatic interface, because what dbt itself writes of a build of many small steps (its log, its manifest,
twice, and its run results) is a good part of what the build costs: only what the job needs is written down.
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from select import select
from threading import Lock
from typing import IO, Any, NoReturn

from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import ParsedNode
from dbt.contracts.project import Configuration, PackageConfig, ProfileConfig, Project, ProjectFlags
from dbt.contracts.selection import SelectorFile
from dbt.parser.manifest import PARTIAL_PARSE_FILE_NAME, extended_mashumuro_decoder
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.event_manager_client import ctx_set_event_manager

from flows.child import end_with_parent
from flows.dbt_process import LOG_NAME, LOOK_SECONDS, PROGRESS_NAME, RESULTS_NAME, SAID_NAME
from flows.dbt_templates import compile_templates, keep_compiled
from flows.exports.exposures import find_version

LOGGED_LEVELS = ("info", "warn", "error")

PROGRESS_EVENTS = ("ConcurrencyLine", "NodeFinished")

CHECKED_CONTRACTS = (Configuration, PackageConfig, ProfileConfig, Project, ProjectFlags, SelectorFile)
"""What dbt holds dbt_project.yml, profiles.yml and its other settings against."""


def serve(answers: int, target: Path | None = None) -> None:
    """Run dbt for each line of standard input, in a fork, and answer with a line: its exit code, negative for a signal.

    It has one thread when it forks: what starts others when it is imported (DuckDB, Arrow) is left to the forks.
    """
    for contract in CHECKED_CONTRACTS:
        contract.json_schema()  # cached: each run checks what it reads of the project by these
    keep_compiled()
    manifest = _read_manifest(target)
    templates = compile_templates(manifest) if manifest else None
    # an interrupt from the keyboard is for whoever started us: when that ends, so do we
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what is imported stays until the end: no use in looking through it again and again
    gc.collect()
    gc.freeze()
    is_first = True
    while line := _await_request(templates):
        request = json.loads(line)
        # who asks once only has no use for it
        if not templates and not is_first and (manifest := _read_manifest(Path(request["target"]))):
            templates = compile_templates(manifest)
        is_first = False
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(theirs)
            # `answers` stays open: that it is closed tells whoever waits that nothing runs any more
            _run_request(request, ours)
        os.close(ours)
        _, status = os.waitpid(pid, 0)
        os.close(theirs)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _await_request(templates: Iterator[None] | None) -> bytes:
    """The next line of standard input; as long as there is none, one template after the other is compiled."""
    while templates and not select([sys.stdin.buffer], [], [], 0)[0]:
        try:
            next(templates)
        except StopIteration:
            break
    return sys.stdin.buffer.readline()


def _read_manifest(target: Path | None) -> Manifest | None:
    """What dbt parsed for a target; None where it did not, or that cannot be read.

    Reading it makes the functions that read its parts, which each fork would make for itself. What it says is taken for
    what is likely asked for, and no more: each run finds out itself what its project is.
    """
    with suppress(Exception):
        if target and (parsed := target / PARTIAL_PARSE_FILE_NAME).exists():
            return Manifest.from_msgpack(parsed.read_bytes(), decoder=extended_mashumuro_decoder)
    return None


def _run_request(request: dict[str, Any], pipe: int) -> NoReturn:
    """Be the fork for one request, and end with it."""
    exit_code = 1
    try:
        target = Path(request["target"])
        said = os.open(target / SAID_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # nothing is to be tidied up: what dbt had not committed is not there
        end_with_parent(signal.SIGKILL)
        end_with_parent(signal.SIGKILL, pipe)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        # no collector of garbage: it would look through all that dbt parsed, for 130 MiB in a run of some seconds
        gc.disable()
        main(target, request["arguments"])
        exit_code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


class HeardEvents(EventManager):
    """dbt's events, of which only those become messages that somebody hears: to make them costs a tenth of a build."""

    def fire_event(
        self,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        """Pass on what is logged, or tells how far dbt is."""
        is_logged = (level or e.level_tag()).value in LOGGED_LEVELS
        if is_logged or type(e).__name__ in PROGRESS_EVENTS or force_warn_or_error_handling:
            super().fire_event(e, level, node, force_warn_or_error_handling)


def main(target: Path, arguments: list[str]) -> None:
    """Run dbt with the arguments; write its log, and last, whole or not at all, its results as JSON.

    An object of `error`, null unless dbt gave up as a whole, and `results`: of each node `kind`, `name` (of a table's
    test, `rules of fct_bounces`), `status`, `message`, `seconds` and `code`, the SQL that it came to; of a mart its
    `description` and those of its `columns`. `exposures` are those of the manifest, and `exposures_version`
    tells of which files (flows/exports/exposures.py); of a `parse` there is nothing else.
    """
    from dbt.adapters.duckdb.credentials import DuckDBCredentials

    # No model asks where the databases lie: what dbt parsed for one home serves another.
    connection_keys: Any = DuckDBCredentials._connection_keys
    setattr(  # noqa: B010 - mypy refuses the plain assignment
        DuckDBCredentials,
        "_connection_keys",
        lambda self: [key for key in connection_keys(self) if key not in ("path", "attach")],
    )
    # dbt writes each node's SQL into files, twice, and makes their folders: our results have it, in one
    setattr(ParsedNode, "write_node", lambda *_: None)  # noqa: B010 - likewise
    ctx_set_event_manager(HeardEvents())
    version = find_version()
    with (target / LOG_NAME).open("w", encoding="utf-8", buffering=1) as log:  # a kill loses no line
        lock = Lock()
        callbacks: list[Any] = [partial(_log, log, lock), Progress(target / PROGRESS_NAME, lock).hear]
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
    written = target / f"{RESULTS_NAME}.new"
    written.write_text(json.dumps(found), encoding="utf-8")
    written.replace(target / RESULTS_NAME)


class Progress:
    """Notes in a file how far dbt is, not more often than somebody looks."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path, self.lock, self.done, self.total, self.noted_at = path, lock, 0, 0, 0.0

    def hear(self, event: Any) -> None:
        """Count the nodes that are through, by dbt's events."""
        if event.info.name not in PROGRESS_EVENTS:
            return
        with self.lock:
            if event.info.name == "ConcurrencyLine":
                self.total = event.data.node_count
            else:
                self.done += 1
            now = time.monotonic()
            if now - self.noted_at >= LOOK_SECONDS or self.done == self.total:
                self.path.write_text(f"{self.done} {self.total}", encoding="ascii")
                self.noted_at = now


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
        "code": getattr(node, "compiled_code", None),
    }
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
    serve(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
