"""A limit on bytes per second, shared by whoever takes from it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from damselfly.clock import now_s

BURST_S: Final = 0.1  # what may be saved up; shorter would punish timers that are late


class Throttle:
    """A bucket that fills with time. Whoever takes more than is in it waits for the debt.

    Those who wait are served in the order in which they came.
    """

    def __init__(
        self,
        rate_bytes_per_s: float,
        *,
        clock: Callable[[], float] = now_s,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Make one.

        Args:
            rate_bytes_per_s: The limit; 0 is none.
            clock: Seconds that never go back.
            sleep: Waits so many of them.
        """
        assert rate_bytes_per_s >= 0
        self._rate = rate_bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_s = clock() - BURST_S  # when all that was taken has been paid for

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._rate > 0

    def reserve(self, count: int) -> float:
        """Take so many bytes, and return the seconds until the limit allows them."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        self._free_s = max(self._free_s, now - BURST_S) + count / self._rate
        return max(self._free_s - now, 0.0)

    async def take(self, count: int) -> None:
        """Take so many bytes, and wait until the limit allows them."""
        if (pause_s := self.reserve(count)) > 0:
            await self._sleep(pause_s)
