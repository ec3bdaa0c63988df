"""Child processes that end when their parent does, however that ends: they watch their standard input, its pipe."""

import os
import threading


def end_with_parent(signal_number: int) -> None:
    """From now on, send this process the signal as soon as the other end of its standard input is closed."""
    # the descriptor itself: a thread that holds the lock of sys.stdin aborts the interpreter when it ends
    threading.Thread(target=_wait_for_end, args=(signal_number,), daemon=True).start()


def _wait_for_end(signal_number: int) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal_number)
