"""Seed blocks to children: the SuperNode's end of its links for one edition."""

import asyncio
from typing import Final

from damselfly.clock import now_s
from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import Loss
from damselfly.core.peer import HostId
from damselfly.core.scheduling.seeding import Grant, SeedPlan
from damselfly.services.peering.links import Link
from damselfly.storage.store import StoredEdition
from damselfly.wire.link_messages import Declined, Granted, Held

UNUSED_S: Final = 15.0  # a child that has not fetched its grant by then is stuck or gone

REPEAT_BATCH_S: Final = 0.02  # blocks that may be repeated are gathered so long


class SeedGrants:
    """Carries out a `SeedPlan` over the links of one edition."""

    def __init__(self, entry: StoredEdition, *, slots: int) -> None:
        self._entry = entry
        self._plan = SeedPlan(slots=slots, seeded=entry.held)
        self._links: dict[HostId, Link] = {}
        self._since_s: dict[Grant, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def seed(self, block_index: int) -> None:
        """A block can be given from now on."""
        self._give(self._plan.seed(block_index, now_s=now_s()))

    def on_linked(self, link: Link, held: BlockSet, load: int) -> None:  # noqa: ARG002
        """A child is there."""
        self._links[link.host_id] = link
        self._give(self._plan.link(link.host_id, held, rack=link.location, now_s=now_s()))

    def on_link_message(self, link: Link, message: Held | Granted | Declined) -> None:
        """A child holds more, or does not want what it was given."""
        match message:
            case Held():
                self._give(self._plan.hold(link.host_id, message.indices, now_s=now_s()))
            case Declined():
                self._since_s.pop(Grant(link.host_id, message.block_index), None)
                self._give(self._plan.decline(link.host_id, message.block_index, now_s=now_s()))
            case Granted():
                pass  # only we grant; links.py refuses it

    def on_link_lost(self, host_id: HostId, loss: Loss) -> None:  # noqa: ARG002
        """A child is gone."""
        self._links.pop(host_id, None)
        self._since_s = {g: since for g, since in self._since_s.items() if g.host_id != host_id}
        self._give(self._plan.unlink(host_id, now_s=now_s()))

    def on_sent(self, host_id: HostId, block_index: int) -> None:
        """A child has fetched a block, or gave it up: its slot is free."""
        if self._since_s.pop(Grant(host_id, block_index), None) is not None:
            self._give(self._plan.end(host_id, block_index, now_s=now_s()))

    def expire(self) -> None:
        """Take back what was granted and not fetched for too long."""
        limit_s = now_s() - UNUSED_S
        for grant in [grant for grant, since in self._since_s.items() if since < limit_s]:
            del self._since_s[grant]
            self._give(self._plan.decline(grant.host_id, grant.block_index, now_s=now_s()))

    def _give(self, grants: list[Grant]) -> None:
        for grant in grants:
            digest = self._entry.digest_of(grant.block_index)
            assert digest is not None
            self._since_s[grant] = now_s()
            message = Granted(block_index=grant.block_index, digest=digest)
            self._links[grant.host_id].post(message)
        due_s = self._plan.due_s()
        if due_s is not None and self._timer is None and self._links:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(due_s - now_s(), REPEAT_BATCH_S), self._repeat)

    def _repeat(self) -> None:
        self._timer = None
        self._give(self._plan.next(now_s=now_s()))
