"""Which blocks a host fetches from outside of its rack: those that no other host there does.

A rack's link to the rest is shared by all of its hosts, so each block should pass it about
once. Only some hosts of a rack, its importers, are linked with others outside; the SuperNode
chooses them. They tell each other, and the rest of the rack, what they are fetching from
outside: their claims. A block that a rack-mate holds or claims is waited for.

Waiting must end: a claimer may be slow, or fail. When nothing has come for a while, claims and
holdings are looked past, and the block is fetched from wherever it can be had.

A claim takes a moment to arrive, and what is new outside is news to all importers at once. So
each block is one importer's to begin with, and then one more's with each tick in which nobody
has claimed it (docs/decisions/0024, 0049).

Source: the shared scheduling study, section 7.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from damselfly.core.peer import HostId

IMPORTERS_USUAL = 8  # of a rack, as core/scheduling names them
OVERDUE_TICKS_MAX = IMPORTERS_USUAL - 1  # ... after which it is anybody's turn
IMPORTS_MIN = 2  # at a time: one coming and one asked for
PATIENCE_S = 2.0  # a stalled parent is noticed in this time
PATIENCE_FETCHES = 8  # ... or in so many usual durations of a fetch, where blocks take long


@dataclass(slots=True)
class Rack:
    """The rack of one host, as far as its links tell.

    Attributes:
        near_count: Linked hosts of the same rack.
        far_count: Linked hosts outside of it.
    """

    near_count: int = 0
    far_count: int = 0

    @property
    def is_divided(self) -> bool:
        """There are hosts on both sides of the rack's link."""
        return bool(self.near_count and self.far_count)

    def imports_max(self, slots: int) -> int:
        """Return how many blocks may come from outside at a time.

        All importers together keep as many on the way as one host has slots, twice, so that
        the rack as a whole is no slower than a host alone.
        """
        importers = min(self.near_count + 1, IMPORTERS_USUAL)
        return max(IMPORTS_MIN, -(-2 * slots // importers))


class Turns:
    """Whose turn it is to import a block: that of one importer, by the block's index.

    That one may be busy, or not linked with a holder. So with each tick in which nobody has the
    block and nobody has claimed it, one importer more may, and after some all of them.
    """

    def __init__(self, host_id: HostId) -> None:
        self._host_id = host_id
        # Blocks that nobody has claimed for a tick or more, for two or more, and so on.
        self._overdue: list[int] = []

    def tick(self, unclaimed_bits: int) -> None:
        """These blocks can be had outside, and nobody in the rack has or claims them."""
        longer = [bits & unclaimed_bits for bits in self._overdue[: OVERDUE_TICKS_MAX - 1]]
        self._overdue = [unclaimed_bits, *longer]

    def ours(self, wanted_bits: int, importers: Iterable[HostId]) -> int:
        """Return those of the wanted blocks that we may import now.

        Args:
            wanted_bits: Blocks that the rack lacks.
            importers: Rack-mates that import.
        """
        hosts = sorted({self._host_id, *importers})
        count = len(hosts)
        rounds = -(-wanted_bits.bit_length() // count)
        every_nth = ((1 << count * rounds) - 1) // ((1 << count) - 1)
        own = hosts.index(self._host_id)
        ours = every_nth << own
        for ticks, overdue in enumerate(self._overdue, start=1):
            is_anybodys = ticks >= min(count - 1, OVERDUE_TICKS_MAX)
            ours |= overdue if is_anybodys else overdue & every_nth << (own - ticks) % count
        return wanted_bits & ours


def is_patient(*, quiet_s: float, fetch_s: float) -> bool:
    """Say whether rack-mates are still waited for, when nothing has come for so long."""
    return quiet_s < max(PATIENCE_S, PATIENCE_FETCHES * fetch_s)
