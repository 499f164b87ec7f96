"""How busy this machine is, as its kernel tells."""

import os
from pathlib import Path

CPUS = os.cpu_count() or 1


class MachineLoad:
    """Asks the kernel; where it does not tell by the moment, the mean of a minute will do."""

    def __init__(self) -> None:
        self._before = _ticks()

    def cpu_share(self) -> float:
        """Return how much of the CPUs' time was used since the last call, 0 to 1."""
        now = _ticks()
        busy, all_of_it = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        return busy / all_of_it if all_of_it > 0 else 0.0

    def run_queue(self) -> float:
        """Return how many threads run or want to, for each CPU."""
        try:
            running = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
            return int(running) / CPUS
        except (OSError, ValueError, IndexError):
            return os.getloadavg()[0] / CPUS


def _ticks() -> tuple[int, int]:
    """Return the time of all CPUs that was used, and all of it."""
    try:
        fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
        ticks = [int(field) for field in fields]
    except (OSError, ValueError):
        return 0, 0  # the run queue tells alone
    idle = sum(ticks[3:5])
    return sum(ticks) - idle, sum(ticks)
