"""The imagined source: one link that all readers share, and whether it answers."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from damselfly.core.downloading.backoff import Backoff
from damselfly.sim.surroundings import Surroundings

# As in services/seeding/seeding.py and services/options.py.
RETRY_S, RETRY_S_MAX, RETRIES_MAX = 0.2, 10.0, 4


@dataclass(slots=True, eq=False)
class _Reading:
    """A block on its way.

    Attributes:
        block_index: Which.
        route: The links it passes.
        then: Called when it is here.
        broke: Called when it will not come.
        attempt: How often it broke.
    """

    block_index: int
    route: tuple[int, ...]
    then: Callable[[], None]
    broke: Callable[[], None]
    flow: int = -1
    attempt: int = 0


class Source:
    """Gives blocks to the SuperNode, and to hosts that turn to it.

    Attributes:
        is_up: It answers.
    """

    def __init__(self, world: Surroundings, rng: random.Random) -> None:
        self._world = world
        self._backoff = Backoff(RETRY_S, RETRY_S_MAX, rng)
        self.is_up = True
        self._readings: dict[_Reading, None] = {}

    def read(
        self,
        block_index: int,
        downlink: tuple[int, ...],
        *,
        then: Callable[[], None],
        broke: Callable[[], None],
    ) -> None:
        """Let a block flow over our link and the reader's; call one of the two at its end.

        A reader asks again when there is no answer, as real ones do, but not for ever.
        """
        route = (self._world.source_link, *downlink)
        self._begin(_Reading(block_index, route, then, broke))

    def _begin(self, reading: _Reading) -> None:
        if not self.is_up:
            self._retry(reading)
            return
        self._readings[reading] = None
        reading.flow = self._world.send(reading.route, reading.block_index, self._on_end, reading)

    def _retry(self, reading: _Reading) -> None:
        timeline = self._world.timeline
        reading.attempt += 1
        if reading.attempt > RETRIES_MAX:
            timeline.after(self._world.latency_s, reading.broke)
        else:
            timeline.after(self._backoff.delay_s(reading.attempt), self._begin, reading)

    def fail(self) -> None:
        """Answer nobody any more; what is on its way breaks off."""
        self.is_up = False
        readings, self._readings = self._readings, {}
        for reading in readings:
            self._world.drop(reading.flow)
            self._retry(reading)

    def recover(self) -> None:
        """Answer again."""
        self.is_up = True

    def _on_end(self, reading: _Reading) -> None:
        del self._readings[reading]
        reading.then()
