"""Which entries leave a full cache: whole ones, those that were idle for longest first.

What others in the swarm hold too counts as idle for twice as long: it comes back over the
local network, and the rest would have to come from its source.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SHARED_FACTOR: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evictable:
    """An entry that nobody uses at the moment.

    Attributes:
        name: Its key.
        stored_bytes: What leaving frees.
        used_wall_s: When it was last used.
        is_elsewhere: Others in the swarm hold it, too.
    """

    name: str
    stored_bytes: int
    used_wall_s: float
    is_elsewhere: bool = False

    def idle_s(self, now_wall_s: float) -> float:
        """Return for how long it counts as idle."""
        idle_s = max(now_wall_s - self.used_wall_s, 0.0)  # negative: the clock was set back
        return idle_s * SHARED_FACTOR if self.is_elsewhere else idle_s


def eviction_order(entries: Iterable[Evictable], *, now_wall_s: float) -> list[Evictable]:
    """Return the entries, the one that leaves first in front."""
    return sorted(entries, key=lambda entry: (-entry.idle_s(now_wall_s), entry.name))


def enough_of(order: Iterable[Evictable], *, wanted_bytes: int) -> list[Evictable]:
    """Return as many of the first as free so much; none if all would not be enough."""
    chosen: list[Evictable] = []
    freed = 0
    for entry in order:
        if freed >= wanted_bytes:
            break
        chosen.append(entry)
        freed += entry.stored_bytes
    return chosen if freed >= wanted_bytes else []


def is_expired(used_wall_s: float, *, now_wall_s: float, ttl_s: float) -> bool:
    """Say whether an entry was idle for longer than it may; a `ttl_s` of 0 is no limit."""
    return 0 < ttl_s < now_wall_s - used_wall_s
