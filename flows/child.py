"""Child processes that end when their parent does, however that ends: they watch a pipe that it holds the end of."""

import os
import threading


def end_with_parent(signal_number: int, descriptor: int = 0) -> None:
    """From now on, send this process the signal as soon as the other end of the pipe is closed: of its standard input,
    where no other is given.
    """
    # the descriptor itself: a thread that holds the lock of sys.stdin aborts the interpreter when it ends
    threading.Thread(target=_wait_for_end, args=(signal_number, descriptor), daemon=True).start()


def _wait_for_end(signal_number: int, descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal_number)
