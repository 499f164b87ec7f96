"""How fast a preheat may read: as fast as it is allowed, and hardly at all beside live pulls.

A live pull of the same task lifts the pace at once. When one of another task begins to read, a
preheat closes its connection: what is on its way there, some megabytes, would still take the
link. It opens another one, and reads from that so slowly that the kernel asks for little. Of a
source that gives no parts the connection is kept, since all would come again by another one: that
only slows down, and what is on its way comes once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from damselfly.errors import SourceUnreachableError
from damselfly.services.seeding.reading import Limit
from damselfly.transport.throttle import Throttle

TRICKLE_SHARE: Final = 0.02  # of a link; live pulls may lose 5 % at most
TURN_BYTES: Final = 256 << 10  # of what is waited for at a time, so that a trickle is even
PACED_PART_BYTES: Final = 64 << 10  # between two looks: 50 ms of a slow link of 10 Mbit/s
LOOK_S: Final = 0.1  # how soon the end of the last live pull is noticed


class GaveWayError(SourceUnreachableError):
    """A preheat closed its connection for a live pull; it is to go on by another one."""

    def __init__(self, *, url: str) -> None:
        super().__init__(url=url, reason="it gives way to a live pull")


class Pacing:
    """What all preheats of a process share.

    Attributes:
        live_count: Live pulls that go on at this moment.
        throttle: Over all preheats.
        trickle: The same, beside live pulls.
    """

    def __init__(self, *, rate_bytes_per_s: float = 0.0, trickle_bytes_per_s: float) -> None:
        self.live_count = 0
        self._trickle_bytes_per_s = trickle_bytes_per_s
        self.throttle = Throttle(rate_bytes_per_s)
        self.trickle = Throttle(trickle_bytes_per_s)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Count a live pull."""
        self.begin_live()
        try:
            yield
        finally:
            self.end_live()

    def begin_live(self) -> None:
        """A live pull begins."""
        if not self.live_count:
            self.trickle = Throttle(self._trickle_bytes_per_s)
        self.live_count += 1

    def end_live(self) -> None:
        """A live pull ended."""
        self.live_count -= 1

    def new(self, rate_bytes_per_s: float = 0.0) -> "Pace":
        """Return the pace of one preheat with a limit of its own; 0 is none."""
        return Pace(self, Throttle(rate_bytes_per_s))


class Pace:
    """How fast one preheat may read; its limit may be shared with others of its job."""

    def __init__(self, pacing: Pacing, throttle: Throttle) -> None:
        self._pacing = pacing
        self._throttle = throttle
        self._lifted = asyncio.Event()
        self._is_trickling = pacing.live_count > 0

    @property
    def is_lifted(self) -> bool:
        """Whether a live pull wants the same, so that nothing holds it back."""
        return self._lifted.is_set()

    def lift(self) -> bool:
        """A live pull wants the same: go on at full speed, and count as one; False: it did."""
        if self.is_lifted:
            return False
        self._lifted.set()
        self._pacing.begin_live()
        return True

    def end(self) -> None:
        """Nothing is read any more."""
        if self.is_lifted:
            self._lifted.clear()
            self._pacing.end_live()

    def check(self, url: str) -> None:
        """Check that a connection may stay open.

        Raises:
            GaveWayError: It may not: a live pull began while it ran at full speed.
        """
        was_trickling, self._is_trickling = self._is_trickling, self._pacing.live_count > 0
        if self._is_trickling and not was_trickling and not self.is_lifted:
            raise GaveWayError(url=url)

    async def take(self, count: int) -> None:
        """Take so many bytes, and wait until they may be read."""
        while count > 0 and not self.is_lifted:
            part = min(count, TURN_BYTES)
            count -= part
            pauses_s = (self._pacing.throttle.reserve(part), self._throttle.reserve(part))
            await self._wait(max(pauses_s))
            if self._pacing.live_count:
                await self._trickle(part)

    async def give_way(self) -> None:
        """Wait before a connection is opened beside live pulls, which begins with a burst."""
        await self._trickle(TURN_BYTES)

    async def _trickle(self, count: int) -> None:
        """Wait as long as live pulls want it, or until there are none."""
        pause_s = self._pacing.trickle.reserve(count)
        while pause_s > 0 and self._pacing.live_count and not self.is_lifted:
            await self._wait(min(pause_s, LOOK_S))
            pause_s -= LOOK_S

    async def _wait(self, pause_s: float) -> None:
        if pause_s > 0 and not self.is_lifted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._lifted.wait()


class PacedLimit:
    """A source's limit, and what holds back the reading of a task at the moment, if anything."""

    def __init__(
        self, limit: Limit, pace_now: Callable[[], Pace | None], url: str, *, can_be_left: bool
    ) -> None:
        self._limit = limit
        self._pace_now = pace_now
        self._url = url
        self._can_be_left = can_be_left

    async def take(self, count: int) -> None:
        """Take so many bytes, and wait until they may be read.

        Raises:
            GaveWayError: The connection is to be closed.
        """
        if (pace := self._pace_now()) is not None:
            if self._can_be_left:  # what gives no parts would have to be read from its start
                pace.check(self._url)
            await pace.take(count)
        await self._limit.take(count)
