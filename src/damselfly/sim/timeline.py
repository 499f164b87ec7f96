"""Virtual time: what happens when, in one order that never depends on the machine."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Timeline:
    """Things to come, by time and then by when they were planned.

    Attributes:
        now_s: The time.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._planned = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, when_s: float, what: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Plan something; what is planned for the past happens now."""
        self._planned += 1
        heappush(self._heap, (when_s, self._planned, what, arguments))

    def after(self, delay_s: float, what: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        """Plan something for so much later."""
        self._planned += 1
        heappush(self._heap, (self.now_s + delay_s, self._planned, what, arguments))

    @property
    def next_s(self) -> float | None:
        """When the next thing happens."""
        return self._heap[0][0] if self._heap else None

    def run(self, until_s: float) -> None:
        """Let everything happen up to a time."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            when_s, _, what, arguments = heappop(heap)
            self.now_s = max(when_s, self.now_s)
            what(*arguments)
        self.now_s = until_s
