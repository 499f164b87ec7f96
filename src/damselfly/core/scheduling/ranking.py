"""Which parents are offered to a peer, the best first.

Near ones first, so that a block crosses each boundary seldom; some far ones among them, so
that the swarm does not fall into islands; among equals the less linked ones, then by lot, so
that the mesh is random. Source: the shared scheduling study, sections 7 and 10.
"""

import random
from collections.abc import Iterable

from damselfly.core.swarm import Peer
from damselfly.core.topology import affinity

FAR_MIN = 2  # of 8: the study's "8 in + 2 out" keeps racks from becoming islands


def rank_parents(
    child: Peer, candidates: Iterable[Peer], *, count: int, rng: random.Random
) -> list[Peer]:
    """Return at most `count` of the candidates, the best first."""
    pool = list(candidates)
    rng.shuffle(pool)  # sorting is stable: among equals the lot decides
    pool.sort(key=lambda peer: (-_affinity_of(child, peer), len(peer.neighbours)))
    if len(pool) <= count:
        return pool
    nearest = _affinity_of(child, pool[0])
    far = [peer for peer in pool if _affinity_of(child, peer) < nearest]
    far.sort(key=lambda peer: len(peer.neighbours))
    far_count = min(FAR_MIN, len(far), max(count - 1, 0))
    return pool[: count - far_count] + far[:far_count]


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
