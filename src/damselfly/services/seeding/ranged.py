"""A content over several connections: its first answer is read on, ranges beside it.

The first answer goes to the end of the content. Where the rates say that more connections would
be faster, it is left at a block's border further on, and what follows is cut into ranges that
are each asked for once: no byte is read twice. They are read in order, as many at a time as
there are connections, each into the store as it comes.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from damselfly.core.blocks import Span
from damselfly.core.ranging import Ranging
from damselfly.core.task import Edition, TaskSpec
from damselfly.core.urls import split_form
from damselfly.transport.provider import SourceAnswer

RANGED_BYTES_MIN: Final = 64 << 20  # below it a content has come before a rate is known
SILENCE_S_MAX: Final = 2.0  # one connection of many may take long to its first byte
WINDOW_S: Final = 0.5  # of bytes, after the first one came
RANGES_PER_CONTENT: Final = 32  # each costs a round trip; the last ones end at different times
RANGE_BYTES_MIN: Final = 8 << 20
BLOCKS_LEFT: Final = 2  # the first answer is in the middle of one when it is cut


def gives_parts(spec: TaskSpec, edition: Edition, answer: SourceAnswer) -> bool:
    """Say whether parts of a content can be asked for safely.

    Listings and bundles are made as they are read: their parts would be made twice.
    """
    form, _ = split_form(spec.url.partition("://")[0])
    return (
        not form
        and answer.accepts_ranges
        and edition.size_bytes is not None
        and (spec.digest is not None or bool(answer.validators.if_range))
    )


def can_be_ranged(spec: TaskSpec, edition: Edition, answer: SourceAnswer) -> bool:
    """Say whether parts of a content can be asked for safely, and are worth it."""
    return (edition.size_bytes or 0) >= RANGED_BYTES_MIN and gives_parts(spec, edition, answer)


class ReadFirst(Protocol):
    """Reads the open answer, up to the byte that it is told by then."""

    async def __call__(
        self, *, on_bytes: Callable[[int], None], stop_at: Callable[[], int | None]
    ) -> None:
        """Read it, telling what came."""


class ReadSpan(Protocol):
    """Reads a span over a connection of its own."""

    async def __call__(self, *, span: Span, on_bytes: Callable[[int], None]) -> object:
        """Read it, telling what came."""


class RangedReading:
    """One content on its way from the source."""

    def __init__(
        self,
        edition: Edition,
        ranging: Ranging,
        *,
        read_first: ReadFirst,
        read_span: ReadSpan,
        now_s: Callable[[], float],
    ) -> None:
        self._size_bytes = edition.size_bytes or 0
        self._block_bytes = edition.block_bytes
        self._ranging = ranging
        self._read_first_to = read_first
        self._read_span = read_span
        self._now_s = now_s
        self._first_byte = 0  # ... that the first answer has not read
        self._first_stop: int | None = None
        self._came_bytes = 0
        self._waiting: deque[Span] = deque()
        self._running = 0
        self._silent = 0  # of these, ranges of which nothing has come yet

    def _on_first_bytes(self, count: int) -> None:
        """Bytes came of the first answer."""
        self._first_byte += count
        self._came_bytes += count

    async def read(self) -> None:
        """Read all of it.

        Raises:
            SourceError: A part of it could not be had; what came is in the store.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(self._read_first(tasks))
                while not (first.done() and self._running == 0):
                    rate = await self._measured(first)
                    if rate is None:
                        break
                    self._adjust(tasks, rate)
                    if self._ranging.is_settled:
                        break
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _read_first(self, tasks: asyncio.TaskGroup) -> None:
        self._running += 1
        await self._read_first_to(on_bytes=self._on_first_bytes, stop_at=lambda: self._first_stop)
        self._running -= 1
        self._start_more(tasks)

    async def _measured(self, first: asyncio.Task[None]) -> float | None:
        """Return the rate of a while from now on, None when it ended meanwhile."""
        came, begun_s = self._came_bytes, self._now_s()
        while not first.done() and (self._came_bytes == came or self._silent):
            await asyncio.sleep(WINDOW_S / 10)  # a round trip is no rate
            if self._came_bytes > came and self._now_s() - begun_s > SILENCE_S_MAX:
                break
        came, since_s = self._came_bytes, self._now_s()
        await asyncio.sleep(WINDOW_S)
        if first.done() and self._running == 0:
            return None
        return (self._came_bytes - came) / max(self._now_s() - since_s, WINDOW_S / 10)

    def _adjust(self, tasks: asyncio.TaskGroup, rate: float) -> None:
        """Take in a rate; the connections that it asks for come now, or end with their range."""
        count = self._ranging.measure(rate)
        if count > 1 and self._first_stop is None:
            self._cut()
        if count == 1 and self._waiting:  # each range would cost a round trip for nothing
            rest = Span(self._waiting[0].start_byte, self._waiting[-1].stop_byte)
            self._waiting = deque([rest])
        self._start_more(tasks)

    def _cut(self) -> None:
        """Say where the first answer ends, and what follows it."""
        ahead = BLOCKS_LEFT * self._block_bytes
        step = self._aligned(max(self._size_bytes // RANGES_PER_CONTENT, RANGE_BYTES_MIN))
        stop = self._aligned(self._first_byte) + max(ahead, step)
        if stop >= self._size_bytes:
            return
        self._first_stop = stop
        for start in range(stop, self._size_bytes, step):
            self._waiting.append(Span(start, min(start + step, self._size_bytes)))

    def _aligned(self, byte: int) -> int:
        return -(-byte // self._block_bytes) * self._block_bytes

    def _start_more(self, tasks: asyncio.TaskGroup) -> None:
        while self._waiting and self._running < max(self._ranging.connections, 1):
            self._running += 1
            tasks.create_task(self._read_range(tasks, self._waiting.popleft()))

    async def _read_range(self, tasks: asyncio.TaskGroup, span: Span) -> None:
        is_silent = True
        self._silent += 1

        def on_bytes(count: int) -> None:
            nonlocal is_silent
            self._silent -= is_silent
            is_silent = False
            self._came_bytes += count

        await self._read_span(span=span, on_bytes=on_bytes)
        self._silent -= is_silent
        self._running -= 1
        self._start_more(tasks)
