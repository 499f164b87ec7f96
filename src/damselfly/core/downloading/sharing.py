"""How several downloads of one host share its link: by their priority.

All transfers that come over a full link get about the same part of it, so whoever may have
more of them gets more. The downloads of the highest priority that is there have all their
slots, each step below has a quarter of that: what is urgent gets four times as much as what is
usual, and goes on as before once it is alone. Nobody is left without any, or a swarm would wait
for the blocks that only a host of no hurry has.
"""

from collections.abc import Iterable
from enum import StrEnum


class Priority(StrEnum):
    """How urgent a download is beside others of its host."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


_ORDER = tuple(Priority)
_STEP_SHIFT = 2  # a quarter


def steps_below(priority: Priority, others: Iterable[Priority]) -> int:
    """Return by how many steps the highest of the others is above a priority."""
    own = _ORDER.index(priority)
    return max((_ORDER.index(other) - own for other in others), default=0)


def highest(priorities: Iterable[Priority]) -> Priority:
    """Return the highest of some priorities, of which there is at least one."""
    return max(priorities, key=_ORDER.index)


def slots_below(slots: int, steps: int) -> int:
    """Return how many of its slots a download may use when others are steps above it."""
    return max(1, slots >> _STEP_SHIFT * max(steps, 0))
