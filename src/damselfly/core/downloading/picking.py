"""Which block comes next, and from which parent.

Among the parents that hold something useful the least loaded one; from it the rarest block
inside the first window that has one. Rare blocks first keep the swarm diverse, the window
keeps the order of the file, so that whoever reads along does not wait for the end.

Source: the shared scheduling study, sections 3.1 and 10.4.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from damselfly.core.blocks import lowest_bit
from damselfly.core.peer import HostId

WINDOW_BLOCKS_MIN = 8
WINDOW_SHARE = 4  # a quarter of the file: 1.18 of the stream's bound at no cost in the last peer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A parent that could be asked now.

    Attributes:
        held_bits: What it holds.
        load: Uploads it has, as it last said, with those we gave it since.
    """

    host_id: HostId
    held_bits: int
    load: int


@dataclass(frozen=True, slots=True)
class Pick:
    """One block from one parent."""

    block_index: int
    host_id: HostId


def pick(
    wanted_bits: int,
    candidates: Sequence[Candidate],
    *,
    holders: Iterable[int],
    window_blocks: int,
    rng: random.Random,
) -> Pick | None:
    """Return what to fetch next, None when nobody has anything useful.

    Args:
        wanted_bits: Blocks that are missing, listed, and not being fetched.
        candidates: Parents that could be asked now.
        holders: What each linked parent holds, also those that cannot be asked now.
        window_blocks: Length of a window.
        rng: Breaks ties.
    """
    useful = [candidate for candidate in candidates if candidate.held_bits & wanted_bits]
    if not useful:
        return None
    load_min = min(candidate.load for candidate in useful)
    chosen = rng.choice([candidate for candidate in useful if candidate.load == load_min])
    offered = chosen.held_bits & wanted_bits
    in_window = offered & window_bits(wanted_bits, offered, window_blocks)
    return Pick(lot(rarest(in_window, holders), rng), chosen.host_id)


def window_bits(wanted_bits: int, offered_bits: int, window_blocks: int) -> int:
    """Return the first window, counted from the first wanted block, with an offered block."""
    first = lowest_bit(wanted_bits)
    skipped = (lowest_bit(offered_bits) - first) // window_blocks
    return ((1 << window_blocks) - 1) << (first + skipped * window_blocks)


def rarest(bits: int, holders: Iterable[int]) -> int:
    """Return those blocks that the fewest holders have.

    Counts all blocks at once: plane n holds bit n of each block's count, and adding a holder
    is a carry that runs through the planes.
    """
    planes: list[int] = []
    for held in holders:
        carry = held & bits
        for level, plane in enumerate(planes):
            planes[level], carry = plane ^ carry, plane & carry
            if not carry:
                break
        if carry:
            planes.append(carry)
    for plane in reversed(planes):
        bits = bits & ~plane or bits
    return bits


def lot(bits: int, rng: random.Random) -> int:
    """Return the position of one of the set bits, by lot."""
    skipped = rng.randrange(bits.bit_count())
    for _ in range(skipped):
        bits &= bits - 1
    return lowest_bit(bits)
