"""Which blocks a host fetches from outside of its rack: those that no other host there does.

A rack's link to the rest is shared by all of its hosts, so each block should pass it about
once. Only some hosts of a rack, its importers, are linked with others outside; the SuperNode
chooses them. They tell each other, and the rest of the rack, what they are fetching from
outside: their claims. A block that a rack-mate holds or claims is waited for.

Waiting must end: a claimer may be slow, or fail. When nothing has come for a while, claims and
holdings are looked past, and the block is fetched from wherever it can be had.

Source: the shared scheduling study, section 7.
"""

from dataclasses import dataclass

IMPORTERS_USUAL = 8  # of a rack, as core/scheduling names them
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


def is_patient(*, quiet_s: float, fetch_s: float) -> bool:
    """Say whether rack-mates are still waited for, when nothing has come for so long."""
    return quiet_s < max(PATIENCE_S, PATIENCE_FETCHES * fetch_s)
