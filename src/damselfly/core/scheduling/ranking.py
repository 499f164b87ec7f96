"""Which parents are offered to a peer.

Near ones, so that a block crosses each boundary seldom, and some far ones among them, so that
the swarm does not fall into islands. Of those that are equally near, most are the least linked,
so that all have about as many neighbours and nobody is left behind; the others are drawn by
lot, so that the swarm is no chain in which each knows those who came shortly before it
(docs/decisions/0021). Source: the shared scheduling study, sections 7 and 10.
"""

import random
from collections.abc import Iterable

from damselfly.core.swarm import Peer
from damselfly.core.topology import affinity

LOT_SHARE = 3  # one of three parents is drawn by lot (bench/simulated.py: 1 of 2 to 4 are equal)
FAR_MIN = 2  # of 8: the study's "8 in + 2 out" keeps racks from becoming islands


def rank_parents(
    child: Peer, candidates: Iterable[Peer], *, count: int, rng: random.Random
) -> list[Peer]:
    """Return at most `count` of the candidates, near ones first."""
    pool = list(candidates)
    rng.shuffle(pool)  # sorting is stable: among equals the lot decides
    if len(pool) > count:
        nearest = max(_affinity_of(child, peer) for peer in pool)
        near = [peer for peer in pool if _affinity_of(child, peer) == nearest]
        far = [peer for peer in pool if _affinity_of(child, peer) < nearest]
        far_count = min(FAR_MIN, len(far), max(count - 1, 0))
        pool = _some(near, count - far_count)
        pool += _some(far, count - len(pool))
    return sorted(pool, key=lambda peer: -_affinity_of(child, peer))


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
