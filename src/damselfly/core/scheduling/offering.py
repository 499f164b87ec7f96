"""Which links a peer gets: some of its own location, and for importers some elsewhere.

`ranking.py` says which candidates are better; here it is how many, and of which kind. Each
link counts at both ends: those who come later bring the rest of what a peer wants. Were all
made at once, only the latest comers would have room (docs/decisions/0021).
"""

import random
from collections.abc import Iterable

from damselfly.core.peer import HostId
from damselfly.core.scheduling.admission import Blame
from damselfly.core.scheduling.instructions import Instruction, OfferParents
from damselfly.core.scheduling.ranking import matches_for_hungry, rank_far, rank_near
from damselfly.core.swarm import IMPORTERS, Peer, Swarm
from damselfly.core.topology import Location

FAR_FIRST = 3  # of an importer; the study has four, of which others bring some
CHILDREN_PER_RACK = 4  # each block goes to a rack once, so more of them only share it


class Offering:
    """Offers parents, and records the links."""

    def __init__(
        self, *, neighbours: int, children_max: int, blame: Blame, rng: random.Random
    ) -> None:
        self._neighbours = neighbours
        self._children_max = children_max
        self._blame = blame
        self._rng = rng

    @property
    def links_max(self) -> int:
        """Links of a peer with others of its own location."""
        return 2 * self._neighbours

    def first(self, swarm: Swarm, peer: Peer, *, now_s: float) -> list[Instruction]:
        """Offer what a peer wants at first, or lacks of it now."""
        wanted = max(self._neighbours * 3 // 4, 1) - peer.near_count
        near = self._allowed(peer, swarm.near(peer, self._rng), now_s)
        others = self._allowed(peer, swarm.far(peer, self._rng), now_s)
        far = rank_far(peer, others, count=FAR_FIRST - peer.far_count, rng=self._rng)
        mesh: list[Peer] = []
        if far or peer.far_count:
            # All importers of a rack know each other's claims; others come beside them.
            mesh = self._allowed(peer, swarm.importers_near(peer), now_s)[: IMPORTERS - 1]
            near = [other for other in near if other not in mesh]
            wanted -= len(mesh) // 2
        parents = mesh + rank_near(near, count=wanted, rng=self._rng) + far
        return self._offer(swarm, peer, parents)

    def hungry(self, swarm: Swarm, peer: Peer, *, now_s: float) -> list[Instruction]:
        """Offer parents to a hungry peer: one that is idle, and all that it has too few.

        An importer gets one elsewhere.
        """
        far = self._allowed(peer, swarm.far(peer, self._rng), now_s)
        match = matches_for_hungry(peer, far, rng=self._rng)
        more: list[Peer] = []
        if match is None and peer.near_count < self.links_max:
            near = self._allowed(peer, swarm.near(peer, self._rng), now_s)
            match = matches_for_hungry(peer, near, rng=self._rng)
            # The latest comers of a rush have what they were offered at first; others have
            # been offered to those who came after them, and have twice as many.
            near = [other for other in near if other is not match]
            lacking = self._neighbours * 3 // 2 - peer.near_count - 1
            more = rank_near(near, count=lacking, rng=self._rng)
        return self._offer(swarm, peer, [*more, match] if match else more)

    def successor(self, swarm: Swarm, location: Location, *, now_s: float) -> list[Instruction]:
        """Let another peer of a location import, after one that did has gone."""
        peer = swarm.name_importer(location, self._rng)
        return self.first(swarm, peer, now_s=now_s) if peer is not None else []

    def _allowed(self, child: Peer, peers: Iterable[Peer], now_s: float) -> list[Peer]:
        """Return those that may be linked with a peer: reachable, not known to it, not banned."""
        return [
            peer
            for peer in peers
            if peer is not child
            and (peer.can_upload or child.can_upload)
            and peer.host.host_id not in child.neighbours
            and peer.host.host_id not in child.avoided
            and not self._blame.is_banned(peer.host.host_id, now_s=now_s)
        ]

    def _becomes_child(self, swarm: Swarm, peer: Peer) -> bool:
        if peer.is_child or swarm.child_count >= self._children_max:
            return False
        if not peer.can_upload:
            return not peer.neighbours  # what it gets first would be nobody else's
        if not peer.host.location.parts or not peer.neighbours:
            return True
        return peer.is_importer and swarm.children_near(peer) < CHILDREN_PER_RACK

    def _offer(self, swarm: Swarm, peer: Peer, parents: list[Peer]) -> list[Instruction]:
        offers: list[Instruction] = []
        named: list[Peer] = []
        for parent in parents:
            swarm.link(peer.host.host_id, parent.host.host_id)
            if parent.can_upload:
                named.append(parent)
            else:  # behind NAT: it can open the link, and nobody else
                offers.append(self._message(swarm, parent.host.host_id, [peer], is_child=False))
        becomes_child = self._becomes_child(swarm, peer)
        if becomes_child:
            swarm.adopt(peer, is_child=True)
        if named or becomes_child:
            own = self._message(swarm, peer.host.host_id, named, is_child=becomes_child)
            offers.insert(0, own)
        return offers

    @staticmethod
    def _message(
        swarm: Swarm, host_id: HostId, parents: list[Peer], *, is_child: bool
    ) -> OfferParents:
        return OfferParents(
            host_id=host_id,
            edition_id=swarm.edition.edition_id,
            parents=tuple(parent.host for parent in parents),
            has_supernode=is_child,
        )
