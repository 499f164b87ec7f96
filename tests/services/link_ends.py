"""The end of a link: one that hears what the other end tells."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import Loss
from damselfly.core.peer import HostId
from damselfly.core.task import EditionId
from damselfly.services.peering.links import Link, Links
from damselfly.services.peering.web_server import client_session, serving
from damselfly.wire.link_messages import Declined, Granted, Held

EDITION = EditionId("ab" * 16)
TIMEOUT_S = 10.0


@dataclass
class End:
    """One host's end of its links; it listens, and keeps what it hears."""

    name: str
    held: BlockSet
    edition_id: EditionId = EDITION
    heard: asyncio.Queue[object] = field(default_factory=asyncio.Queue)

    def on_linked(self, link: Link, held: BlockSet, load: int) -> None:  # noqa: ARG002
        self.heard.put_nowait(held)

    def on_link_message(self, link: Link, message: Held | Granted | Declined) -> None:  # noqa: ARG002
        assert isinstance(message, Held)
        self.heard.put_nowait(message.indices)

    def on_link_lost(self, host_id: HostId, loss: Loss) -> None:  # noqa: ARG002
        self.heard.put_nowait(loss)

    async def hears(self) -> object:
        """Return what it hears next."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.heard.get()

    @contextlib.asynccontextmanager
    async def links(self) -> AsyncIterator[Links]:
        """Give its links, with a port."""
        async with client_session() as client, asyncio.TaskGroup() as tasks:
            links = Links(
                host_id=HostId(f"h-{self.name}"),
                held_of=lambda _: self.held.copy(),
                load=lambda: 0,
                client=client,
                tasks=tasks,
            )
            links.listen(self.edition_id, self)
            app = web.Application()
            app.router.add_get("/v1/editions/{edition_id}/link", links.handle)
            async with serving(app, "127.0.0.1:0") as links.address:
                yield links
                links.close()

    def store(self, links: Links, block_index: int) -> None:
        """A block came."""
        self.held.add(block_index)
        links.announce(self.edition_id, block_index)
