"""The peers that a download is linked with: what they tell, as events of its mind."""

from collections.abc import Iterable
from typing import Protocol

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import events as core
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.services.peering.links import Link, Links
from damselfly.wire.link_messages import Declined, Granted, Held
from damselfly.wire.session_messages import Parent


class Handler(Protocol):
    """Takes an event; with a granted block comes its digest."""

    def __call__(self, event: core.Event, digest: bytes = b"") -> None:
        """Take it."""


class LinkedPeers:
    """The links of one download, and where the peers can be asked for blocks."""

    def __init__(self, handle: Handler, *, location: str) -> None:
        self._handle = handle
        self._location = location
        self._links: dict[HostId, Link] = {}
        # {host id: address} of parents that were offered.
        self._offered: dict[HostId, str] = {}

    def __len__(self) -> int:
        return len(self._links)

    def clear(self) -> None:
        """Forget all links: they were about another edition."""
        self._links.clear()

    def offer(self, parents: Iterable[Parent], *, supernode: str) -> tuple[HostId, ...]:
        """Take in an offer, and return those that can be linked with.

        Args:
            parents: As the SuperNode named them.
            supernode: Its own address.
        """
        host_ids: list[HostId] = []
        for parent in parents:
            host_id = HostId(parent.host_id)
            address = supernode if host_id == SUPERNODE else parent.address
            if address:
                self._offered[host_id] = address
                host_ids.append(host_id)
        return tuple(host_ids)

    def address_of(self, host_id: HostId) -> str:
        """Return where a peer can be asked; empty: nowhere."""
        link = self._links.get(host_id)
        return link.address if link and link.address else self._offered.get(host_id, "")

    def close(self, host_ids: Iterable[HostId]) -> None:
        """Close the links with these peers."""
        for host_id in host_ids:
            if (link := self._links.get(host_id)) is not None:
                link.conversation.close()

    def claim(self, links: Links, indices: tuple[int, ...]) -> None:
        """Tell those at our location which blocks we are fetching from elsewhere; all of them."""
        links.claim(self, indices)

    def decline(self, block_index: int) -> None:
        """Tell the SuperNode that a granted block is not needed."""
        if (link := self._links.get(SUPERNODE)) is not None:
            link.post(Declined(block_index=block_index))

    # --- what links.py tells

    def on_linked(self, link: Link, held: BlockSet, load: int) -> None:
        """A link is open."""
        self._links[link.host_id] = link
        self._handle(
            core.ParentLinked(
                host_id=link.host_id,
                held=held,
                load=load,
                can_give=bool(link.address),
                is_far=link.host_id != SUPERNODE and link.location != self._location,
            )
        )

    def on_link_message(self, link: Link, message: Held | Granted | Declined) -> None:
        """The other side told something."""
        match message:
            case Held():
                self._handle(
                    core.ParentHeld(
                        host_id=link.host_id,
                        blocks=BlockSet.of(message.indices),
                        load=message.load,
                        claimed=BlockSet.of(message.claimed),
                    )
                )
            case Granted():
                self._handle(core.BlockGranted(block_index=message.block_index), message.digest)
            case Declined():
                pass  # we grant nothing, so nothing is declined

    def on_link_lost(self, host_id: HostId, loss: core.Loss) -> None:
        """A link ended, or could not be opened."""
        self._links.pop(host_id, None)
        self._handle(core.ParentLost(host_id=host_id, loss=loss))
