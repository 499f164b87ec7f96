"""The swarm of one edition, as the SuperNode knows it: who takes part, and who is linked.

The SuperNode knows counts and flags of its peers, never which blocks they hold: what it has
to do grows with peers and neighbours, not with peers and blocks.
"""

from dataclasses import dataclass, field

from damselfly.core.peer import Host, HostId
from damselfly.core.task import Edition


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


class Swarm:
    """The peers of one edition.

    Attributes:
        edition: What they share.
        peers: {host id: peer}, in the order in which they came.
    """

    def __init__(self, edition: Edition) -> None:
        self.edition = edition
        self.peers: dict[HostId, Peer] = {}

    @property
    def child_count(self) -> int:
        """How many peers get seed blocks from the SuperNode itself and still need some."""
        return sum(peer.is_child and not peer.is_whole for peer in self.peers.values())

    def add(self, peer: Peer) -> Peer:
        """Take a peer in; one that is in already only changes its counts and its host."""
        known = self.peers.get(peer.host.host_id)
        if known is None:
            self.peers[peer.host.host_id] = peer
            return peer
        known.host, known.held_count, known.is_whole = peer.host, peer.held_count, peer.is_whole
        return known

    def remove(self, host_id: HostId) -> None:
        """Forget a peer and its links; unknown ones are fine."""
        peer = self.peers.pop(host_id, None)
        if peer is None:
            return
        for neighbour in peer.neighbours:
            self.peers[neighbour].neighbours.discard(host_id)

    def link(self, left: HostId, right: HostId) -> None:
        """Record that two peers are neighbours."""
        assert left != right
        self.peers[left].neighbours.add(right)
        self.peers[right].neighbours.add(left)

    def unlink(self, left: HostId, right: HostId) -> None:
        """Record that two peers are no neighbours any more."""
        for one, other in ((left, right), (right, left)):
            if one in self.peers:
                self.peers[one].neighbours.discard(other)

    def isolate(self, host_id: HostId) -> None:
        """Forget all links of a peer; unknown ones are fine."""
        if host_id in self.peers:
            for neighbour in self.peers[host_id].neighbours.copy():
                self.unlink(host_id, neighbour)

    def check(self) -> None:
        """Assert the invariants: links are symmetric, nobody is its own neighbour."""
        for host_id, peer in self.peers.items():
            assert peer.host.host_id == host_id
            assert host_id not in peer.neighbours
            for neighbour in peer.neighbours:
                assert host_id in self.peers[neighbour].neighbours
