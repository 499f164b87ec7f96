"""How late the event loop is: all that a process does waits behind the same queue."""

import asyncio
from typing import Final

from damselfly.clock import now_s
from damselfly.telemetry.metrics import Metrics

EVERY_S: Final = 0.1  # often enough to catch a stall of that length, and costs 10 wake-ups


class LoopWatch:
    """Looks ten times a second how much later than planned it is woken."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._due_s = now_s() + EVERY_S
        self._last_s = 0.0

    @property
    def delay_s(self) -> float:
        """How late the loop is: as last seen, or as now is to be seen if that is worse."""
        return max(self._last_s, now_s() - self._due_s)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._due_s = now_s() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._last_s = max(now_s() - self._due_s, 0.0)
            self._metrics.loop_delay_seconds.observe(self._last_s)
