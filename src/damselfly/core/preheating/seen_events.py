"""Push events that were taken in: one that comes again does nothing.

Senders send again what they think was lost, and whoever recorded an event may replay it. So
each event's id is remembered as long as its time is believed. When there are too many to
remember, the oldest go, and no event that is as old as those is believed any more.
"""

from collections.abc import Iterable
from enum import Enum, auto

AGE_MAX_S = 24 * 3600.0  # a registry's queue outlasts a night's outage of ours
AHEAD_MAX_S = 300.0  # clocks differ
COUNT_MAX = 100_000  # some 150 bytes each


class Judgement(Enum):
    """What is to be done with an event."""

    FRESH = auto()
    REPEATED = auto()
    OUTDATED = auto()


class SeenEvents:
    """The events that were taken in."""

    def __init__(
        self, seen: Iterable[tuple[str, float]] = (), *, count_max: int = COUNT_MAX
    ) -> None:
        self._count_max = count_max
        # {event: when it was taken in}, the oldest first.
        self._seen: dict[str, float] = {}
        self._forgotten_until_s = 0.0
        for event_id, seen_s in seen:
            self._remember(event_id, seen_s)

    def judge(self, event_id: str, *, told_s: float | None, now_s: float) -> Judgement:
        """Return what is to be done with an event.

        Args:
            event_id: Its name.
            told_s: When it happened, as the sender says; None: it does not say.
            now_s: What the clock on the wall says.
        """
        if event_id in self._seen:
            return Judgement.REPEATED
        if told_s is None:
            return Judgement.FRESH
        oldest_s = max(now_s - AGE_MAX_S, self._forgotten_until_s)
        if not oldest_s < told_s < now_s + AHEAD_MAX_S:
            return Judgement.OUTDATED
        return Judgement.FRESH

    def take_in(self, event_id: str, *, now_s: float) -> None:
        """Remember an event, and forget those that are too old to be believed."""
        self._remember(event_id, now_s)
        oldest = next(iter(self._seen))
        if self._seen[oldest] < now_s - AGE_MAX_S - AHEAD_MAX_S:
            del self._seen[oldest]  # one for one

    def forget(self, event_id: str) -> None:
        """An event was not taken in after all."""
        self._seen.pop(event_id, None)

    def _remember(self, event_id: str, seen_s: float) -> None:
        self._seen[event_id] = seen_s
        if len(self._seen) > self._count_max:
            oldest = next(iter(self._seen))
            # Whatever happened before it was taken in may have been it.
            self._forgotten_until_s = self._seen.pop(oldest)
