"""Where what stores a block runs: in the event loop, or in a thread beside it.

A short plain block that goes into the page cache is checked and stored in 0.2 ms. To hand it to a
thread takes longer: two wake-ups, and each of the thread's steps waits for the interpreter. But a
disk that cannot keep up makes a writer wait, and the event loop must not be that writer: when a
block took long, threads store for a while.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from damselfly.clock import now_s

R = TypeVar("R")

SHORT_BYTES_MAX: Final = 512 << 10  # longer ones keep the loop longer than a thread costs
SLOW_S: Final = 0.05  # a busy machine alone can make a step of ours take some of this
IN_THREADS_S: Final = 30.0  # what is behind writes back for so long, by the kernel's default


class StoringPace:
    """Decides it for all downloads of a host."""

    def __init__(self, *, clock: Callable[[], float] = now_s) -> None:
        """Make one; `clock` gives seconds that never go back."""
        self._clock = clock
        self._in_threads_until_s = float("-inf")

    async def run(self, store: Callable[[], R], *, length: int, is_plain: bool) -> R:
        """Return what `store` returns.

        Args:
            store: Checks a block and stores it.
            length: Of the block.
            is_plain: There is nothing to decode.
        """
        begun_s = self._clock()
        is_short = is_plain and length <= SHORT_BYTES_MAX
        if not is_short or begun_s < self._in_threads_until_s:
            return await asyncio.to_thread(store)
        try:
            return store()
        finally:
            ended_s = self._clock()
            if ended_s - begun_s > SLOW_S:
                self._in_threads_until_s = ended_s + IN_THREADS_S
