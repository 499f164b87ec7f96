"""Virtual time: what happens when, in one order that never depends on the machine.

Ten thousand hosts have a hundred thousand things to come, most of them a moment away, others
later. In one heap each would be compared with some that lie cold in memory. So only what comes
within the present slot of time is in order; what comes later lies unsorted in the list of its slot.
"""

from collections import defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

SLOT_S = 0.0005  # a message's usual way: what it causes is in the next slot, not in the heap

Planned = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Timeline:
    """Things to come, by time and then by when they were planned.

    Attributes:
        now_s: The time.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._count = 0
        self._slot = 0
        # What comes up to the end of the present slot, as a heap, and {later slot: what comes}.
        self._heap: list[Planned] = []
        self._later: defaultdict[int, list[Planned]] = defaultdict(list)

    def at(self, when_s: float, what: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Plan something; what is planned for the past happens now."""
        self._count += 1
        slot = int(when_s / SLOT_S)
        if slot <= self._slot:
            heappush(self._heap, (when_s, self._count, what, arguments))
        else:
            self._later[slot].append((when_s, self._count, what, arguments))

    def after(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Plan something for so much later."""
        self.at(self.now_s + delay_s, what, *arguments)

    def run(self, until_s: float) -> None:
        """Let everything happen up to a time."""
        last = int(until_s / SLOT_S)
        self._run_slot(until_s)
        while self._slot < last:
            self._slot += 1
            if (planned := self._later.pop(self._slot, None)) is not None:
                self._heap = planned
                heapify(planned)
                self._run_slot(until_s)
        self.now_s = until_s

    def _run_slot(self, until_s: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            when_s, _, what, arguments = heappop(heap)
            self.now_s = max(when_s, self.now_s)
            what(*arguments)
