"""Memory for blocks under way, straight from the kernel.

A bytearray is filled with zeros, in memory that the kernel has just filled with zeros, page by
page: 4 ms for 4 MiB, which is as long as such a block takes to come and to be checked together.
In huge pages, which not every system has, it is a twentieth of that.
"""

import contextlib
import mmap
from typing import Final

HUGE_BYTES: Final = 2 << 20


def fresh_memory(length: int) -> memoryview:
    """Return so many bytes."""
    huge_count = length // HUGE_BYTES
    # The kernel aligns to huge pages what is as long as some of them. Of what lies behind the
    # block no page is ever touched.
    size = -(-length // HUGE_BYTES) * HUGE_BYTES if huge_count else length
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge_count and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            area.madvise(mmap.MADV_HUGEPAGE, 0, huge_count * HUGE_BYTES)
    return memoryview(area)[:length]
