"""Which codec and level a block gets, from what they gained and how fast they were.

A block is on its way for as long as the slower of two takes: the encoders, which run beside
the links, and the link, which a shorter body occupies for less time. A way whose encoders
would need more than four fifths of the time that the link needs for the block as it is, is none:
compression must never be what others wait for. Of the others, the one with the shortest body
is chosen, as long as it is so much shorter than a cheaper one that the CPU is well spent.

While the CPUs are what all wait for, a way must cost next to nothing of them: on a slow link a
fast encoder works for a small part of the time, and what it spares the link is worth more.

What a level gains beyond the fastest one, and how fast it is, is measured with each block that
goes its way; before the first, it is assumed what zstd does on common machines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

NEW_SHARE: Final = 0.2  # of a measured value in its running mean: five blocks to follow a change
# A dearer level must make a block this much shorter: below, the CPU is better left to others.
WORTH: Final = 0.03
# Encoders may take this much of the time that the link takes: a margin for other tasks.
BUSY_SHARE: Final = 0.8
# Of all CPUs, while they are busy: encoding at the link's rate may take so much. All that
# receive must decode as well, perhaps on these CPUs.
CHEAP_SHARE: Final = 0.025
# {place of a level in its codec's list: bytes per second of one thread, size against the first}
SPEEDS: Final = (350e6, 200e6, 70e6, 40e6)
SIZES: Final = (1.0, 0.93, 0.88, 0.85)


@dataclass(frozen=True, slots=True)
class Way:
    """A codec at a level; `place` is the level's in the codec's list, the fastest first."""

    codec: int
    place: int


class Choosing:
    """Chooses ways, and learns from what came of them.

    Args:
        levels: {codec: how many levels it has}.
        gain_min: A block that would become shorter by a smaller share stays as it is.
        threads: Encoders at a time.
        cpus: Of the machine.
    """

    def __init__(
        self, levels: Mapping[int, int], *, gain_min: float, threads: int, cpus: int
    ) -> None:
        self._levels = dict(levels)
        self._gain_min = gain_min
        self._threads = threads
        self._cpus = cpus
        # {way: bytes per second of one thread}, {way: body ÷ what the sample promised}
        self._speeds: dict[Way, float] = {}
        self._sizes: dict[Way, float] = {}

    def choose(
        self, sizes: Mapping[int, float], *, rate_bytes_per_s: float, is_busy: bool = False
    ) -> Way | None:
        """Return how to compress a block; None: not at all.

        Args:
            sizes: {codec: body ÷ block, as the sample promises of the fastest level}.
            rate_bytes_per_s: What the links carry.
            is_busy: The CPUs are what is waited for, here and now.
        """
        for codec, size in self._promising(sizes):
            best: Way | None = None
            best_size = 1.0 - self._gain_min
            for way, found in self._climb(codec, size):
                is_worth = found <= best_size * (1.0 if best is None else 1.0 - WORTH)
                if is_worth and self._keeps_up(way, rate_bytes_per_s, is_busy=is_busy):
                    best, best_size = way, found
            if best is not None:
                return best
        return None

    def _promising(self, sizes: Mapping[int, float]) -> list[tuple[int, float]]:
        """Return the codecs that may gain enough, the best first, as the sample says.

        Not as blocks before say: each codec has seen those alone for which it was chosen, and one
        that was lucky with its few would be taken for all.
        """
        # No level makes much of what the fastest one can do nothing with.
        enough = [item for item in sizes.items() if item[1] <= 1.0 - self._gain_min]
        return sorted(enough, key=lambda item: (item[1], item[0]))

    def _climb(self, codec: int, size: float) -> Iterator[tuple[Way, float]]:
        """Yield the ways of a codec that may be tried, and the size that each would make.

        Levels are tried one after the other, and none beyond one that gained nothing: the
        numbers of a model compress no better with more effort.
        """
        below: float | None = None
        for place in range(self._levels.get(codec, 0)):
            way = Way(codec, place)
            factor = self._sizes.get(way)
            assumed = 1.0 if below is None else below * _of(SIZES, place) / _of(SIZES, place - 1)
            yield way, min(size * (assumed if factor is None else factor), 1.0)
            if factor is None or (below is not None and factor > below * (1.0 - WORTH)):
                return
            below = factor

    def _keeps_up(self, way: Way, rate_bytes_per_s: float, *, is_busy: bool) -> bool:
        """Say whether encoders are done well before the link had carried the block as it is."""
        speed = self._speeds.get(way, _of(SPEEDS, way.place))
        if is_busy and rate_bytes_per_s > CHEAP_SHARE * self._cpus * speed:
            return False
        return rate_bytes_per_s <= BUSY_SHARE * self._threads * speed

    def note(self, way: Way, *, promised: float, size: float, bytes_per_s: float) -> None:
        """Learn from a block that went a way: its sample's promise, and what came of it."""
        found = size / max(promised, 1e-3)
        self._sizes[way] = _mean(self._sizes.get(way), found)
        self._speeds[way] = _mean(self._speeds.get(way), bytes_per_s)

    def forget(self, codec: int) -> None:
        """Use a codec no more."""
        self._levels.pop(codec, None)


def _of(values: tuple[float, ...], place: int) -> float:
    return values[min(place, len(values) - 1)]


def _mean(known: float | None, found: float) -> float:
    return found if known is None else known + NEW_SHARE * (found - known)
