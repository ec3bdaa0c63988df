"""Prefect without a server set up: its settings for a home, and a server of our own that lives as long as its run.

Prefect can start a temporary server itself, but that one outlives a killed run, gives up on a slow machine after 20
seconds and does not schedule. This one reads its standard input, which ends when its parent does, however that ends.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flows.child import end_with_parent
from flows.problems import ActionableError
from flows.settings import Settings

STARTUP_SECONDS = 120


def set_environment(settings: Settings, *, verbose: bool) -> None:
    """Set what Prefect reads when it is imported: its home below ours, no analytics, a quiet terminal unless `verbose`.

    Values that the user has set stay, except that nothing is ever sent home.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ.setdefault("PREFECT_HOME", str(settings.state / "prefect"))
    # the console's level only: the server gets all log lines, and errors are told by the command itself
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if verbose else "CRITICAL")


@contextmanager
def use_server(settings: Settings) -> Iterator[str]:
    """Have a Prefect API while the block runs, and give its address: that of `PREFECT_API_URL`, else one started here.

    Must be entered before Prefect is imported. The server listens on this machine only, on a free port.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        yield address
        return
    log_path = settings.state / "prefect" / "server.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, log_path.open("wb") as log:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # an interrupt from the keyboard is for the run, which then tells the server
        )
    os.environ["PREFECT_API_URL"] = address
    try:
        from prefect.logging.handlers import APILogWorker  # takes a second, in which the server starts

        _await_health(server, address, str(log_path))
        try:
            yield address
        finally:
            APILogWorker.drain_all(timeout=10)  # also of a run that failed, before its server goes
    finally:
        del os.environ["PREFECT_API_URL"]
        server.communicate()


def _await_health(server: subprocess.Popen[bytes], address: str, log_path: str) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310 - our own http address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise ActionableError(
        f"Prefect's local server did not start; its log is {log_path}",
        "remove <home>/state/prefect and try again, or set PREFECT_API_URL to a server of your own",
    )


def _serve(descriptor: int) -> None:
    import uvicorn

    end_with_parent(signal.SIGTERM)
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        fd=descriptor,
        log_level="error",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
