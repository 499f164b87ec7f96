"""How many connections read one content from its source: as many as make it faster, no more.

Many sources give each connection a share: object stores some 50 to 100 MB/s, others less by
policy. Others give all they have to the first, and more connections only cost them. Which it is
can only be measured: four times as many connections are tried, and kept if the rate grew by
half at least; else it stays as it was before. Nothing is tried while the rate is all that is
of use, which is what the links of the hosts carry.
"""

from typing import Final

STEP: Final = 4  # 1, 4, 16: two trials lead to all that a budget allows
GAIN_MIN: Final = 1.5  # by chance a rate moves by a quarter
ENOUGH_SHARE: Final = 0.75  # of a link: headers and what else it carries take the rest


class Ranging:
    """Decides from measured rates.

    Attributes:
        connections: How many there should be now.
        is_settled: Nothing more will be tried.
    """

    def __init__(
        self, *, connections_max: int, enough_bytes_per_s: float, connections: int = 1
    ) -> None:
        self._max = max(connections_max, 1)
        self._enough = ENOUGH_SHARE * enough_bytes_per_s
        self.connections = min(connections, self._max)
        self.is_settled = self._max == 1
        # What there was before the present trial: (connections, bytes per second).
        self._before: tuple[int, float] | None = None

    def measure(self, bytes_per_s: float) -> int:
        """Take in the rate with the present connections; return how many there should be."""
        if self.is_settled:
            return self.connections
        if self._before is not None and bytes_per_s < GAIN_MIN * self._before[1]:
            self.connections, _ = self._before
            self.is_settled = True
        elif bytes_per_s >= self._enough or self.connections == self._max:
            self.is_settled = True
        else:
            self._before = self.connections, bytes_per_s
            self.connections = min(self.connections * STEP, self._max)
        return self.connections
