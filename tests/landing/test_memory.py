"""Memory that landing frees is its own again, without the kernel: seen by the pages that it has to clear."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from flows.landing.memory import keep_freed_memory

keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pack = b"x" * (200 << 20)
    del pack
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the GNU C library only")
def test_a_buffer_as_large_as_the_one_before_takes_no_page_from_the_kernel() -> None:
    first, second = map(int, subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split())
    assert first > 50  # pages may be of two megabytes
    assert second < first / 4
