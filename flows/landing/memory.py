"""Memory that landing frees is kept for what it reads next, where the C library is GNU's."""

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt(3)`."""

KEPT_BYTES = 512 << 20
"""What may be free at the end of the heap before it goes back to the kernel: about two packs."""

LARGEST_BYTES = 1 << 30
"""An allocation that is larger still comes from the kernel, and goes back to it."""


def keep_freed_memory() -> None:
    """Have the process keep what it frees, up to `KEPT_BYTES`.

    Each pack is read into buffers of its own, of many megabytes. By default the C library takes such from the kernel
    and gives them back, and the kernel clears every page of the next one again: a twelfth of the time of landing.
    """
    with suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        # the first alone would do no good, the second alone harm: it ends the library's own adaptation
        if mallopt(MMAP_THRESHOLD, LARGEST_BYTES):
            mallopt(TRIM_THRESHOLD, KEPT_BYTES)
