"""When the SuperNode's process looks for objects that only hold each other.

Python does so whenever there are a quarter more objects than the last time, and it looks at all
of them: while 10,000 hosts come that is a fifth of the CPU, and the last look holds up
everybody for most of a second (bench/joins.py). Hosts that come are no garbage, though. So only
what is young is looked at as it comes and goes, and everything once in a while, if it has become
more: garbage does not go by itself, so where there is more of it there are more objects.
"""

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

YOUNG_OBJECTS: Final = 5_000  # some 40 joins; looking at these takes half a millisecond
YOUNG_ROUNDS: Final = 4  # ... and at those that these leave, 15 ms; with 20 it was 75 ms
NEVER: Final = 1_000_000_000  # the look at everything is ours
EVERYTHING_S: Final = 300.0  # hosts that went meanwhile, 20 KiB each, are all that waits for it
GROWTH_SHARE: Final = 0.1  # of all objects, so that a SuperNode at rest is held up by nothing


class FullLooks:
    """Looks at everything when there are enough more objects than after the last look."""

    def __init__(self) -> None:
        self._left_count = 0

    def look(self) -> bool:
        """Look if there is a reason to; say whether there was."""
        if _old_count() <= self._left_count * (1 + GROWTH_SHARE):
            return False
        gc.collect()
        self._left_count = _old_count()
        return True


def _old_count() -> int:
    """Return how many objects have outlived their youth."""
    return len(gc.get_objects(generation=2))


@contextlib.contextmanager
def collecting_garbage() -> Iterator[None]:
    """Look for garbage in our own time inside the block, then in Python's again.

    It is the whole process that this holds for, so it is for whoever runs one to say.
    """
    loop, looks, before = asyncio.get_running_loop(), FullLooks(), gc.get_threshold()
    next_look: asyncio.TimerHandle

    def look() -> None:
        nonlocal next_look
        looks.look()
        next_look = loop.call_later(EVERYTHING_S, look)

    next_look = loop.call_later(EVERYTHING_S, look)
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, NEVER)
    gc.collect()
    gc.freeze()  # modules and classes live as long as the process
    try:
        yield
    finally:
        next_look.cancel()
        gc.unfreeze()
        gc.set_threshold(*before)
