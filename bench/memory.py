"""Memory that was in use a moment ago, for a measurement that writes much.

The hypervisor of a virtual machine may take freed memory back (free page reporting), and give
it out again at a tenth of the speed of memory. Whoever writes first then pays for it, and the
numbers say more about that than about the programs. Pages that were part of the page cache
are taken again first by whoever needs such pages.

    python bench/memory.py      what a write of fresh pages costs here, and one of used pages
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

STEP_BYTES = 1 << 21  # as large as the blocks that are written
PIECE_BYTES, STRETCH_BYTES = 256 << 10, 512 << 20
STRETCHES, IDLE_S = 6, 20


def use_memory(folder: Path, size_bytes: int) -> None:
    """Let the page cache have so many bytes, and give them back."""
    path = folder / "memory-in-use"
    data = os.urandom(STEP_BYTES)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, STEP_BYTES):
            file.write(data)
    path.unlink()


def cost_of_writing(folder: Path) -> list[float]:
    """Return the kernel's CPU seconds per GiB of `pwrite` into a new file, stretch by stretch."""
    path = folder / "new"
    data = os.urandom(PIECE_BYTES)
    costs: list[float] = []
    with path.open("wb", buffering=0) as file:
        for start in range(0, STRETCHES * STRETCH_BYTES, STRETCH_BYTES):
            before_s = resource.getrusage(resource.RUSAGE_SELF).ru_stime
            for offset in range(start, start + STRETCH_BYTES, PIECE_BYTES):
                os.pwrite(file.fileno(), data, offset)
            used_s = resource.getrusage(resource.RUSAGE_SELF).ru_stime - before_s
            costs.append(used_s * (1 << 30) / STRETCH_BYTES)
    path.unlink()
    return costs


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    kernel = platform.release().split("-")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {kernel}"
    what = f"pwrite of {PIECE_BYTES >> 10} KiB into a new file"
    lines = [
        f"{what}, {datetime.now(UTC):%Y-%m-%d}, {machine}",
        f"kernel's CPU seconds per GiB, for each {STRETCH_BYTES >> 20} MiB, one after the other",
        "",
    ]
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        for when, pause_s in (("first", 0), ("again, at once", 0), (f"{IDLE_S} s later", IDLE_S)):
            time.sleep(pause_s)
            costs = "".join(f"{cost:7.2f}" for cost in cost_of_writing(Path(name)))
            lines.append(f"{when:<16}{costs}")
    print("\n".join(lines))
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
