"""Child processes that end when their parent does, however that ends: they watch their standard input, its pipe.

Run as a program (`python -m flows.child ARGUMENTS`) it is dbt, which a killed run must not leave building.
"""

import os
import signal
import sys
import threading
from typing import Any


def end_with_parent(signal_number: int) -> None:
    """From now on, send this process the signal as soon as the other end of its standard input is closed."""
    # the descriptor itself: a thread that holds the lock of sys.stdin aborts the interpreter when it ends
    threading.Thread(target=_wait_for_end, args=(signal_number,), daemon=True).start()


def _wait_for_end(signal_number: int) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal_number)


if __name__ == "__main__":
    # nothing is to be tidied up: what dbt had not committed is not there
    end_with_parent(signal.SIGKILL)
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.cli.main import cli

    # No model asks where the database lies: what dbt parsed for one home serves another.
    connection_keys: Any = DuckDBCredentials._connection_keys
    setattr(  # noqa: B010 - mypy refuses the plain assignment
        DuckDBCredentials, "_connection_keys", lambda self: [key for key in connection_keys(self) if key != "path"]
    )

    sys.argv[0] = "dbt"
    cli()
