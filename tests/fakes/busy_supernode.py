"""A SuperNode with too much to do: it puts a host off a few times before it gives a content."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from damselfly.services.peering.web_server import serving
from damselfly.transport.conversation import Conversation, server_socket
from damselfly.wire import session_messages as wire

Session = Conversation[wire.HostMessage, wire.SuperNodeMessage]


@dataclass
class BusySuperNode:
    """Gives one short content, later.

    Attributes:
        content: Of every task.
        refusals: So many requests for a session are answered with 503.
        busy_count: So many joins are put off.
        pause_s: For how long each.
        asked_s: When a session was asked for, each time.
        joined_s: When a task was asked for, each time.
    """

    content: bytes
    refusals: int = 0
    busy_count: int = 0
    pause_s: float = 1.0
    asked_s: list[float] = field(default_factory=list)
    joined_s: list[float] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve inside the block; gives the address."""
        app = web.Application()
        app.router.add_get("/v1/session", self._session)
        async with serving(app, "127.0.0.1:0") as address:
            yield address

    async def _session(self, request: web.Request) -> web.StreamResponse:
        self.asked_s.append(time.perf_counter())
        if len(self.asked_s) <= self.refusals:
            headers = {"Retry-After": f"{self.pause_s:.0f}"}
            raise web.HTTPServiceUnavailable(text="busy\n", headers=headers)
        socket = server_socket(message_bytes_max=1 << 20)
        await socket.prepare(request)
        session: Session = Conversation(socket, reads=wire.host_codec, writes=wire.supernode_codec)
        await session.run(lambda message: self._answer(session, message))
        return socket

    def _answer(self, session: Session, message: wire.HostMessage) -> None:
        match message:
            case wire.Hello():
                session.post(wire.Welcome(protocol=wire.PROTOCOL, address="127.0.0.1:1"))
            case wire.Join():
                self.joined_s.append(time.perf_counter())
                if len(self.joined_s) <= self.busy_count:
                    busy = wire.Busy(task_id=message.task_id, retry_after_s=self.pause_s)
                    session.post(busy)
                else:
                    for told in self._edition(message.task_id):
                        session.post(told)
            case _:
                pass

    def _edition(self, task_id: str) -> tuple[wire.EditionTold, wire.Sealed]:
        edition_id, size_bytes = task_id[:32], len(self.content)
        told = wire.EditionTold(
            task_id=task_id,
            edition_id=edition_id,
            block_bytes=256 << 10,
            size_bytes=size_bytes,
            content=self.content,
        )
        return told, wire.Sealed(task_id=task_id, edition_id=edition_id, size_bytes=size_bytes)
