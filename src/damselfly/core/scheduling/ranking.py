"""Which parents are offered to a peer.

A peer is linked with others of its own location, its rack. Only importers are also linked with
peers elsewhere, themselves importers, and all importers of a rack with each other: so a block
passes a rack's link about once (docs/decisions/0024). Most of those that are offered are the
least linked, so that all have about as many neighbours and nobody is left behind; the others
are drawn by lot, so that the swarm is no chain in which each knows those who came shortly
before it (docs/decisions/0021). Source: the shared scheduling study, sections 7 and 10.
"""

import random
from collections.abc import Iterable

from damselfly.core.swarm import Peer
from damselfly.core.topology import affinity

LOT_SHARE = 3  # one of three parents is drawn by lot (bench/simulated.py: 1 of 2 to 4 are equal)


def rank_near(candidates: Iterable[Peer], *, count: int, rng: random.Random) -> list[Peer]:
    """Return at most `count` of the candidates of a peer's own location."""
    pool = list(candidates)
    rng.shuffle(pool)  # sorting is stable: among equals the lot decides
    return _some(pool, max(count, 0))


def rank_far(
    child: Peer, candidates: Iterable[Peer], *, count: int, rng: random.Random
) -> list[Peer]:
    """Return at most `count` of the candidates elsewhere: near ones, and one by lot.

    The one keeps the zones of a region, and the regions, from becoming islands.
    """
    if count <= 0:
        return []
    pool = list(candidates)
    rng.shuffle(pool)
    by_lot = pool[:1]
    rest = sorted(pool[1:], key=lambda peer: (-_affinity_of(child, peer), peer.far_count))
    return rest[: count - 1] + by_lot


def _some(pool: list[Peer], count: int) -> list[Peer]:
    """Return the least linked, and some that are there by lot alone."""
    by_lot = pool[: count // LOT_SHARE]
    rest = sorted(pool[len(by_lot) :], key=lambda peer: len(peer.neighbours))
    return rest[: count - len(by_lot)] + by_lot


def _affinity_of(child: Peer, peer: Peer) -> int:
    return affinity(child.host.location, peer.host.location)


def matches_for_hungry(
    child: Peer, candidates: Iterable[Peer], *, rng: random.Random
) -> Peer | None:
    """Return the peer that a hungry one should be linked with next, if there is one.

    One that has free upload slots; the nearest, and among equals the one that holds most.
    """
    best: tuple[int, int, float] | None = None
    chosen: Peer | None = None
    for peer in candidates:
        if not peer.is_idle:
            continue
        key = (_affinity_of(child, peer), peer.held_count, rng.random())
        if best is None or key > best:
            best, chosen = key, peer
    return chosen
