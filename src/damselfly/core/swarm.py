"""The swarm of one edition, as the SuperNode knows it: who takes part, and who is linked.

The SuperNode knows counts and flags of its peers, never which blocks they hold: what it has
to do grows with peers and neighbours, not with peers and blocks. One event costs the same in
a swarm of ten and of ten thousand: nothing here walks through all peers.
"""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from damselfly.core.peer import Host, HostId
from damselfly.core.task import Edition
from damselfly.core.topology import Location

SAMPLE = 24  # of each circle around a peer: thrice what is offered, so that ranking has a choice


@dataclass(slots=True, kw_only=True)
class Peer:
    """A host in a swarm.

    Attributes:
        host: The machine.
        held_count: Blocks it holds, as it last said.
        is_whole: It holds everything.
        is_hungry: It has free download slots and nobody to ask.
        is_idle: It has free upload slots.
        is_child: It gets seed blocks from the SuperNode itself.
        neighbours: Peers it is linked with, or was told to link with.
        avoided: Hosts that failed it; not offered to it again.
    """

    host: Host
    held_count: int = 0
    is_whole: bool = False
    is_hungry: bool = False
    is_idle: bool = True
    is_child: bool = False
    neighbours: set[HostId] = field(default_factory=set)
    avoided: set[HostId] = field(default_factory=set)

    @property
    def can_upload(self) -> bool:
        """Others can reach it."""
        return bool(self.host.address)


class _Pool:
    """A set of host ids from which some can be drawn by lot."""

    def __init__(self) -> None:
        self._ids: list[HostId] = []
        self._places: dict[HostId, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, host_id: HostId) -> bool:
        return host_id in self._places

    def add(self, host_id: HostId) -> None:
        if host_id not in self._places:
            self._places[host_id] = len(self._ids)
            self._ids.append(host_id)

    def discard(self, host_id: HostId) -> None:
        place = self._places.pop(host_id, None)
        if place is not None:
            last = self._ids.pop()
            if last != host_id:  # it moves into the gap
                self._ids[place] = last
                self._places[last] = place

    def some(self, count: int, rng: random.Random) -> list[HostId]:
        return self._ids if len(self._ids) <= count else rng.sample(self._ids, count)


class Swarm:
    """The peers of one edition.

    Attributes:
        edition: What they share.
        peers: {host id: peer}, in the order in which they came.
        child_count: How many get seed blocks from the SuperNode itself and still need some.
        missing_count: How many are not whole.
    """

    def __init__(self, edition: Edition, *, links_max: int) -> None:
        self.edition = edition
        self.peers: dict[HostId, Peer] = {}
        self.child_count = 0
        self.missing_count = 0
        self._links_max = links_max
        # {part of a location, from the left: peers there that may get another link}.
        self._open: dict[tuple[str, ...], _Pool] = defaultdict(_Pool)

    def near(self, location: Location, rng: random.Random) -> list[Peer]:
        """Return peers that may get another link: some of each circle around a place.

        In a small swarm that is all of them.
        """
        parts = location.parts
        found: dict[HostId, None] = {}
        for length in range(len(parts), -1, -1):
            if (pool := self._open.get(parts[:length])) is not None:
                found.update(dict.fromkeys(pool.some(SAMPLE, rng)))
        return [self.peers[host_id] for host_id in found]

    def finish(self, peer: Peer) -> None:
        """A peer misses nothing any more."""
        self._count(peer, -1)
        peer.is_whole = True
        self._count(peer, 1)

    def adopt(self, peer: Peer, *, is_child: bool) -> None:
        """A peer gets seed blocks from the SuperNode from now on, or no longer."""
        self._count(peer, -1)
        peer.is_child = is_child
        self._count(peer, 1)

    def _count(self, peer: Peer, change: int) -> None:
        if not peer.is_whole:
            self.missing_count += change
            self.child_count += change * peer.is_child

    def _sort(self, peer: Peer) -> None:
        """Put a peer among those that may get another link, or take it out."""
        is_open = len(peer.neighbours) < self._links_max
        parts = peer.host.location.parts
        for length in range(len(parts) + 1):
            pool = self._open[parts[:length]]
            if is_open:
                pool.add(peer.host.host_id)
            else:
                pool.discard(peer.host.host_id)

    def _unsort(self, peer: Peer) -> None:
        parts = peer.host.location.parts
        for length in range(len(parts) + 1):
            pool = self._open[parts[:length]]
            pool.discard(peer.host.host_id)
            if not pool:
                del self._open[parts[:length]]

    def add(self, peer: Peer) -> Peer:
        """Take a peer in; one that is in already only changes its counts and its host."""
        known = self.peers.get(peer.host.host_id)
        if known is None:
            self.peers[peer.host.host_id] = peer
            self._count(peer, 1)
            self._sort(peer)
            return peer
        self._unsort(known)  # its place may have changed
        self._count(known, -1)
        known.host, known.held_count, known.is_whole = peer.host, peer.held_count, peer.is_whole
        self._count(known, 1)
        self._sort(known)
        return known

    def remove(self, host_id: HostId) -> None:
        """Forget a peer and its links; unknown ones are fine."""
        peer = self.peers.pop(host_id, None)
        if peer is None:
            return
        self._unsort(peer)
        self._count(peer, -1)
        for neighbour in sorted(peer.neighbours):  # in one order, so that a run can be replayed
            self.peers[neighbour].neighbours.discard(host_id)
            self._sort(self.peers[neighbour])

    def link(self, left: HostId, right: HostId) -> None:
        """Record that two peers are neighbours."""
        assert left != right
        for one, other in ((left, right), (right, left)):
            self.peers[one].neighbours.add(other)
            self._sort(self.peers[one])

    def unlink(self, left: HostId, right: HostId) -> None:
        """Record that two peers are no neighbours any more."""
        for one, other in ((left, right), (right, left)):
            if one in self.peers:
                self.peers[one].neighbours.discard(other)
                self._sort(self.peers[one])

    def isolate(self, host_id: HostId) -> None:
        """Forget all links of a peer; unknown ones are fine."""
        if host_id in self.peers:
            for neighbour in sorted(self.peers[host_id].neighbours):
                self.unlink(host_id, neighbour)

    def check(self) -> None:
        """Assert the invariants: links are symmetric, nobody is its own neighbour."""
        for host_id, peer in self.peers.items():
            assert peer.host.host_id == host_id
            assert host_id not in peer.neighbours
            for neighbour in peer.neighbours:
                assert host_id in self.peers[neighbour].neighbours
            assert (host_id in self._open[()]) == (len(peer.neighbours) < self._links_max)
        missing = [peer for peer in self.peers.values() if not peer.is_whole]
        assert self.missing_count == len(missing)
        assert self.child_count == sum(peer.is_child for peer in missing)
