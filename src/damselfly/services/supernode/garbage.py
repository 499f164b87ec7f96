"""When the SuperNode's process looks for objects that only hold each other.

Python does so whenever there are a quarter more objects than the last time, and it looks at all
of them: while 10,000 hosts come that is a fifth of the CPU, and the last look holds up
everybody for half a second (bench/joins.py). Hosts that come are no garbage, though. So only
what is young is looked at as it comes and goes, and everything once in a while.
"""

import asyncio
import gc
from typing import Final

YOUNG_OBJECTS: Final = 5_000  # some 40 joins; looking at these takes half a millisecond
YOUNG_ROUNDS: Final = 20
NEVER: Final = 1_000_000_000  # the look at everything is ours
EVERYTHING_S: Final = 300.0  # hosts that went meanwhile, 20 KiB each, are all that waits for it


async def collect_garbage() -> None:
    """Look for garbage in our own time until cancelled; then in Python's again."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_ROUNDS, NEVER)
    gc.collect()
    gc.freeze()  # modules and classes live as long as the process
    try:
        while True:
            await asyncio.sleep(EVERYTHING_S)
            gc.collect()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
