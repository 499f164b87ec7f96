"""The swarm of one edition, as the SuperNode knows it: who takes part, and who is linked.

The SuperNode knows counts and flags of its peers, never which blocks they hold: what it has
to do grows with peers and neighbours, not with peers and blocks. One event costs the same in
a swarm of ten and of ten thousand: nothing here walks through all peers.
"""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from damselfly.core.peer import Host, HostId
from damselfly.core.task import Edition
from damselfly.core.topology import Location

SAMPLE = 24  # of those that have room: four times what is offered, so that ranking has a choice
# Hosts of one location, a rack, that are linked with others outside of it, so that its link to
# the rest carries each block about once: the study found 8 of 40 to do as well as all.
IMPORTERS = 8
FAR_LINKS_MAX = 8  # of an importer


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
        is_importer: It is linked with peers of other locations.
        far_count: How many of its neighbours are elsewhere.
        neighbours: Peers it is linked with, or was told to link with.
        avoided: Hosts that failed it; not offered to it again.
    """

    host: Host
    held_count: int = 0
    is_whole: bool = False
    is_hungry: bool = False
    is_idle: bool = True
    is_child: bool = False
    is_importer: bool = False
    far_count: int = 0
    neighbours: set[HostId] = field(default_factory=set)
    avoided: set[HostId] = field(default_factory=set)

    @property
    def near_count(self) -> int:
        """How many of its neighbours are at its own location."""
        return len(self.neighbours) - self.far_count

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
        # {location: peers there that may get another link with one of the same location}.
        self._open: dict[Location, _Pool] = defaultdict(_Pool)
        # Importers of all locations that may get another link with one of another location.
        self._far_open = _Pool()
        # {location: importers there}, the keys of a dictionary; and how many peers are there.
        self._importers: dict[Location, dict[HostId, None]] = defaultdict(dict)
        self._sizes: Counter[Location] = Counter()
        self._children: Counter[Location] = Counter()

    def near(self, peer: Peer, rng: random.Random) -> list[Peer]:
        """Return peers at the same location that may get another link, if many then some."""
        pool = self._open.get(peer.host.location)
        return [self.peers[host_id] for host_id in pool.some(SAMPLE, rng)] if pool else []

    def far(self, peer: Peer, rng: random.Random) -> list[Peer]:
        """Return peers at other locations that may get another link; only for importers."""
        if not peer.is_importer or peer.far_count >= FAR_LINKS_MAX:
            return []
        drawn = (self.peers[host_id] for host_id in self._far_open.some(SAMPLE, rng))
        return [other for other in drawn if other.host.location != peer.host.location]

    def importers_near(self, peer: Peer) -> list[Peer]:
        """Return the importers at a peer's location."""
        found = self._importers.get(peer.host.location, {})
        return [self.peers[host_id] for host_id in found if host_id != peer.host.host_id]

    def children_near(self, peer: Peer) -> int:
        """Return how many at a peer's location get seed blocks and still need some."""
        return self._children[peer.host.location]

    def name_importer(self, location: Location, rng: random.Random) -> Peer | None:
        """Make another peer of a location an importer, if it has too few; return it."""
        pool = self._open.get(location)
        drawn = [self.peers[host_id] for host_id in pool.some(SAMPLE, rng)] if pool else []
        others = [peer for peer in drawn if not peer.is_importer]
        others.sort(key=lambda peer: peer.is_whole)  # those that miss something import
        for peer in others:
            self._unsort(peer)
            self._appoint(peer)
            self._sort(peer)
            if peer.is_importer:
                return peer
        return None

    def _appoint(self, peer: Peer) -> None:
        """Make a peer an importer, if its location has too few that others can reach."""
        importers = self._importers[peer.host.location]
        if len(importers) < IMPORTERS and (peer.can_upload or not importers):
            importers[peer.host.host_id] = None
            peer.is_importer = True

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
            self._children[peer.host.location] += change * peer.is_child

    def _sort(self, peer: Peer) -> None:
        """Put a peer among those that may get another link, or take it out."""
        host_id = peer.host.host_id
        room = self._links_max + IMPORTERS * peer.is_importer
        if peer.near_count < room:
            self._open[peer.host.location].add(host_id)
        else:
            self._open[peer.host.location].discard(host_id)
        if peer.is_importer and peer.far_count < FAR_LINKS_MAX:
            self._far_open.add(host_id)
        else:
            self._far_open.discard(host_id)

    def _unsort(self, peer: Peer) -> None:
        self._far_open.discard(peer.host.host_id)
        self._open[peer.host.location].discard(peer.host.host_id)

    def _enter(self, peer: Peer) -> None:
        """Count a peer at its location."""
        self._sizes[peer.host.location] += 1
        self._count(peer, 1)
        self._appoint(peer)
        self._sort(peer)

    def _exit(self, peer: Peer) -> None:
        """Undo `_enter`; nothing stays of a location without peers."""
        location = peer.host.location
        self._unsort(peer)
        self._count(peer, -1)
        self._importers[location].pop(peer.host.host_id, None)
        peer.is_importer = False
        self._sizes[location] -= 1
        if not self._sizes[location]:
            for by_location in (self._sizes, self._children, self._importers, self._open):
                by_location.pop(location, None)

    def add(self, peer: Peer) -> Peer:
        """Take a peer in; one that is in already only changes its counts and its host."""
        known = self.peers.get(peer.host.host_id)
        if known is None:
            self.peers[peer.host.host_id] = peer
            self._enter(peer)
            return peer
        if known.host.location != peer.host.location:
            self.isolate(known.host.host_id)  # near and far are others now
        self._exit(known)
        known.host, known.held_count, known.is_whole = peer.host, peer.held_count, peer.is_whole
        self._enter(known)
        return known

    def remove(self, host_id: HostId) -> None:
        """Forget a peer and its links; unknown ones are fine."""
        peer = self.peers.get(host_id)
        if peer is None:
            return
        self.isolate(host_id)
        del self.peers[host_id]
        self._exit(peer)

    def link(self, left: HostId, right: HostId) -> None:
        """Record that two peers are neighbours."""
        assert left != right
        one, other = self.peers[left], self.peers[right]
        if right in one.neighbours:
            return
        is_far = one.host.location != other.host.location
        for peer, neighbour in ((one, right), (other, left)):
            peer.neighbours.add(neighbour)
            peer.far_count += is_far
            self._sort(peer)

    def unlink(self, left: HostId, right: HostId) -> None:
        """Record that two peers are no neighbours any more."""
        one, other = self.peers.get(left), self.peers.get(right)
        if one is None or other is None or right not in one.neighbours:
            return
        is_far = one.host.location != other.host.location
        for peer, neighbour in ((one, right), (other, left)):
            peer.neighbours.discard(neighbour)
            peer.far_count -= is_far
            self._sort(peer)

    def isolate(self, host_id: HostId) -> None:
        """Forget all links of a peer; unknown ones are fine."""
        if host_id in self.peers:
            # In one order, so that a run can be replayed.
            for neighbour in sorted(self.peers[host_id].neighbours):
                self.unlink(host_id, neighbour)

    def check(self) -> None:
        """Assert the invariants: links are symmetric, nobody is its own neighbour."""
        for host_id, peer in self.peers.items():
            assert peer.host.host_id == host_id
            assert host_id not in peer.neighbours
            for neighbour in peer.neighbours:
                assert host_id in self.peers[neighbour].neighbours
            location = peer.host.location
            far = [n for n in peer.neighbours if self.peers[n].host.location != location]
            assert peer.far_count == len(far)
            assert peer.is_importer == (host_id in self._importers[location])
        assert sum(self._sizes.values()) == len(self.peers)
        missing = [peer for peer in self.peers.values() if not peer.is_whole]
        assert self.missing_count == len(missing)
        assert self.child_count == sum(peer.is_child for peer in missing)
