"""Which entries leave a full cache: whole ones, the least recently used first."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Evictable:
    """An entry that nobody uses at the moment.

    Attributes:
        name: Its key.
        stored_bytes: What leaving frees.
        used_wall_s: When it was last used.
    """

    name: str
    stored_bytes: int
    used_wall_s: float


def choose_evicted(entries: Iterable[Evictable], *, wanted_bytes: int) -> list[str]:
    """Return the names of the entries that leave; none if all of them would not be enough."""
    chosen: list[str] = []
    freed = 0
    for entry in sorted(entries, key=lambda entry: (entry.used_wall_s, entry.name)):
        if freed >= wanted_bytes:
            break
        chosen.append(entry.name)
        freed += entry.stored_bytes
    return chosen if freed >= wanted_bytes else []
