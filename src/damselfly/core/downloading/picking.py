"""Which block comes next, and from which parent.

Blocks that a reader waits for come first, if anybody has them. Otherwise, among the parents
that hold something useful, the less loaded of two drawn by lot; from it the rarest block, where
somebody reads along inside the first window that has one. Rare blocks first keep the swarm
diverse, the window keeps the order of the file.

What is known of a parent's load is a moment old, and the same for all its children: if each
took the least loaded one, all would take the same (docs/decisions/0020).

Source: the shared scheduling study, sections 3.1 and 10.4; for the two, Mitzenmacher, How
useful is old information? (2000).
"""

import random
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from damselfly.core.blocks import lowest_bit
from damselfly.core.peer import HostId

WINDOW_BLOCKS_MIN = 8
READ_AHEAD_BLOCKS = 2
RUN_BLOCKS = 16  # a request to the source pays off, and the rest may come from others
# An eighth of the file where somebody reads along, who waits 1.21 instead of 1.32 of the bound
# with it, and 1.57 with half (100 hosts). Where nobody does there is no window: all hosts pass
# the end of one together, and what they miss there is rare (docs/decisions/0028).
WINDOW_SHARE = 8


class Candidate(Protocol):
    """A parent that could be asked now.

    Attributes:
        host_id: Its id.
        held_bits: What it holds.
        load: Uploads it has, as it last said, with those we gave it since.
    """

    @property
    def host_id(self) -> HostId: ...  # noqa: D102
    @property
    def held_bits(self) -> int: ...  # noqa: D102
    @property
    def load(self) -> int: ...  # noqa: D102


class Pick(NamedTuple):
    """One block from one parent."""

    block_index: int
    host_id: HostId


class Rarity:
    """How many holders each block has, for all blocks at once.

    Plane n holds bit n of each block's count, and adding a holder is a carry that runs
    through the planes: news of one block cost two or three operations on integers.
    """

    __slots__ = ("_planes",)

    def __init__(self) -> None:
        self._planes: list[int] = []

    def add(self, bits: int) -> None:
        """These blocks have one more holder."""
        carry, planes = bits, self._planes
        for level, plane in enumerate(planes):
            if not carry:
                return
            planes[level], carry = plane ^ carry, plane & carry
        if carry:
            planes.append(carry)

    def remove(self, bits: int) -> None:
        """These blocks, each of which was counted, have one holder less."""
        borrow, planes = bits, self._planes
        for level, plane in enumerate(planes):
            planes[level], borrow = plane ^ borrow, borrow & ~plane
        assert not borrow

    def rarest(self, bits: int) -> int:
        """Return those of these blocks that the fewest holders have."""
        for plane in reversed(self._planes):
            bits = bits & ~plane or bits
        return bits


def pick(
    wanted_bits: int,
    candidates: Iterable[Candidate],
    *,
    rarity: Rarity,
    window_blocks: int,
    rng: random.Random,
) -> Pick | None:
    """Return what to fetch next, None when nobody has anything useful.

    Args:
        wanted_bits: Blocks that are missing, listed, and not being fetched.
        candidates: Parents that could be asked now.
        rarity: Of what each linked parent holds, also those that cannot be asked now.
        window_blocks: Length of a window.
        rng: Breaks ties.
    """
    useful = [candidate for candidate in candidates if candidate.held_bits & wanted_bits]
    if not useful:
        return None
    chosen = useful[int(rng.random() * len(useful))]
    other = useful[int(rng.random() * len(useful))]
    if other.load < chosen.load:
        chosen = other
    offered = chosen.held_bits & wanted_bits
    in_window = offered & window_bits(wanted_bits, offered, window_blocks)
    return Pick(lot(rarity.rarest(in_window), rng), chosen.host_id)


def near_bits(positions: Iterable[int]) -> int:
    """Return the blocks that readers wait for, and the next ones.

    All other slots stay with the rarest: a swarm that reads in order has all the same blocks.
    """
    near = 0
    for position in set(positions):
        near |= ((1 << READ_AHEAD_BLOCKS) - 1) << position
    return near


def window_bits(wanted_bits: int, offered_bits: int, window_blocks: int) -> int:
    """Return the first window, counted from the first wanted block, with an offered block."""
    first = lowest_bit(wanted_bits)
    skipped = (lowest_bit(offered_bits) - first) // window_blocks
    return ((1 << window_blocks) - 1) << (first + skipped * window_blocks)


def some_run(bits: int, rng: random.Random) -> tuple[int, int]:
    """Return a short run of set bits, somewhere: `first <= i < stop`.

    Hosts that lost their SuperNode all miss the same blocks. Each reads others of them from
    the source, and then they give them to each other.
    """
    first = stop = lot(bits, rng)
    while bits >> stop & 1 and stop - first < RUN_BLOCKS:
        stop += 1
    return first, stop


def lot(bits: int, rng: random.Random) -> int:
    """Return the position of one of the set bits: the first from a place drawn by lot.

    A bit behind a gap is likelier than one behind another; it costs the same however many
    there are, and for breaking ties among blocks that is even enough.
    """
    first = lowest_bit(bits)
    place = first + int(rng.random() * (bits.bit_length() - first))
    return place + lowest_bit(bits >> place)
