"""Who leaves a full cache next, without a look at all entries each time that room is needed.

All idle entries are put in order once, and leave from the front as room is needed. Whoever was
used since is passed over; when nobody is left in the queue, it is made anew. So room costs the
same for a hundred entries and for a hundred thousand, all in all.
"""

from collections import deque
from collections.abc import Callable, Iterable

from damselfly.core.caching.eviction import Evictable, enough_of, eviction_order


class EvictionQueue:
    """The entries of a store in the order in which they leave."""

    def __init__(
        self, all_idle: Callable[[], Iterable[Evictable]], is_idle: Callable[[Evictable], bool]
    ) -> None:
        """Make an empty one.

        Args:
            all_idle: Returns all entries that may leave.
            is_idle: Whether one that might leave still may: it is there, and was not used since.
        """
        self._all_idle = all_idle
        self._is_idle = is_idle
        self._queue: deque[Evictable] = deque()

    def choose(self, wanted_bytes: int, *, now_wall_s: float) -> list[str]:
        """Return the names of the entries that leave; none if all would not be enough."""
        chosen: list[Evictable] = []
        freed = 0
        while self._queue and freed < wanted_bytes:
            first = self._queue.popleft()
            if self._is_idle(first):
                chosen.append(first)
                freed += first.stored_bytes
        if freed < wanted_bytes:
            order = eviction_order(self._all_idle(), now_wall_s=now_wall_s)
            chosen = enough_of(order, wanted_bytes=wanted_bytes)
            self._queue = deque(order[len(chosen) :])
        return [entry.name for entry in chosen]
