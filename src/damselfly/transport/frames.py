"""Memory for blocks under way, for all downloads of a host together.

Each download alone keeps few blocks on the way; a host with many pulls at once has many times
as many. So there is a limit for all, and who comes when it is reached waits in line. Frames
are filled again as long as there is work: fresh memory costs more than the bytes that fill it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable  # noqa: TC003  # as in all modules
from typing import Final

from damselfly.transport.fresh_memory import fresh_memory

# 256 blocks of the smallest size, two of the largest: more than any link needs at a time.
FRAMES_BYTES_MAX: Final = 64 << 20


class Frames:
    """Gives out frames; one at least, however long it is.

    Attributes:
        keepers: Called when a frame is wanted and there is none: they give back what they have
            in use only because that is convenient.
    """

    def __init__(self, bytes_max: int = FRAMES_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self.keepers: set[Callable[[], None]] = set()
        self._in_use_bytes = 0
        self._kept_bytes = 0
        self._kept: dict[int, list[memoryview]] = defaultdict(list)  # by length
        # (length, set when it may be had), in the order in which they came. Invariant: the
        # first one does not fit.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, length: int) -> memoryview:
        """Wait for a frame; whatever lies in it is rubbish."""
        if self._waiting or not self._fits(length):
            for give_back in tuple(self.keepers):
                give_back()
        if self._waiting or not self._fits(length):
            await self._wait(length)
        else:
            self._in_use_bytes += length
        if kept := self._kept[length]:
            self._kept_bytes -= length
            return kept.pop()
        if self._in_use_bytes + self._kept_bytes > self._bytes_max:
            self._forget_kept()
        return fresh_memory(length)

    def give_back(self, frame: memoryview, *, is_reusable: bool = True) -> None:
        """End the use of a frame; one that somebody may still read is not filled again."""
        self._in_use_bytes -= len(frame)
        if is_reusable and self._in_use_bytes + self._kept_bytes + len(frame) <= self._bytes_max:
            self._kept[len(frame)].append(frame)
            self._kept_bytes += len(frame)
        self._let_in()
        if not self._in_use_bytes:
            self._forget_kept()  # the work is done

    def _fits(self, length: int) -> bool:
        return not self._in_use_bytes or self._in_use_bytes + length <= self._bytes_max

    async def _wait(self, length: int) -> None:
        place = length, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place[1].cancelled():
                self._waiting.remove(place)
            else:  # it was let in at the same moment
                self._in_use_bytes -= length
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            length, turn = self._waiting[0]
            if turn.cancelled():
                return  # it is about to leave, and to call this again
            self._waiting.popleft()
            self._in_use_bytes += length
            turn.set_result(None)

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0
