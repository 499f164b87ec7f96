"""Memory that was in use a moment ago, for a measurement that writes much.

The hypervisor of a virtual machine may take freed memory back (free page reporting), and give
it out again at a tenth of the speed of memory. Whoever writes first then pays for it, and the
numbers say more about that than about the programs. Pages that were part of the page cache
are taken again first by whoever needs such pages.
"""

import os
from pathlib import Path

STEP_BYTES = 1 << 21  # as large as the blocks that are written


def use_memory(folder: Path, size_bytes: int) -> None:
    """Let the page cache have so many bytes, and give them back."""
    path = folder / "memory-in-use"
    data = os.urandom(STEP_BYTES)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, STEP_BYTES):
            file.write(data)
    path.unlink()
