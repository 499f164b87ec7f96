"""Giving blocks to others: slots, a fair queue, and bytes that the kernel sends.

A request that finds no slot waits for one, a short while: the child has asked us because
everybody else is busier. When a slot frees, the child that was served longest ago is next,
so that nobody who asks again quickly can keep a slot for itself.

Source: the shared scheduling study, section 3.3.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from damselfly.core.task import EditionId, is_edition_id
from damselfly.storage.store import BlockStore, SendableBlock
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.throttle import Throttle
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, PackedHeader, trailer

WAIT_S: Final = 3.0  # a refusal costs a round trip and CPU on both sides; the queue is fair
WAITING_PER_SLOT: Final = 4
RETRY_AFTER_S: Final = 0.25
SEND_BYTES: Final = 256 << 10  # between two looks at a rate limit
# What is handed to the kernel and not sent yet; more would make a slot free long before its
# block has left, and let more blocks share the link than there are slots.
NOT_SENT_BYTES_MAX: Final = 128 << 10
# A child that takes nothing for so long gives its slot back; its network may be down as well.
STALLED_MS_MAX: Final = 10_000
HOSTS_REMEMBERED_MAX: Final = 4096


class UploadSlots:
    """A number of slots and those that wait for one."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting_max = count * WAITING_PER_SLOT
        self._waiting: dict[asyncio.Future[None], str] = {}
        # {host: when it was last served, as a count}; whoever is not in it was never served.
        self._served: dict[str, int] = {}
        self._turn = 0
        self._count = count

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return self._count - self._free + len(self._waiting)

    @asynccontextmanager
    async def slot(self, host_id: str) -> AsyncIterator[bool]:
        """Wait for a slot and keep it inside the block; False: there was none in time."""
        if not await self._wait(host_id):
            yield False
            return
        self._turn += 1
        self._served[host_id] = self._turn
        if len(self._served) > HOSTS_REMEMBERED_MAX:
            del self._served[min(self._served, key=self._served.__getitem__)]
        try:
            yield True
        finally:
            self._release()

    async def _wait(self, host_id: str) -> bool:
        if self._free:
            self._free -= 1
            return True
        if len(self._waiting) >= self._waiting_max:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = host_id
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except TimeoutError:
            return turn.done() and not turn.cancelled()  # a slot may come in the same moment
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            raise
        finally:
            self._waiting.pop(turn, None)
        return True

    def _release(self) -> None:
        waiting = [turn for turn in self._waiting if not turn.done()]
        if not waiting:
            self._free += 1
            return
        longest = min(waiting, key=lambda turn: self._served.get(self._waiting[turn], 0))
        longest.set_result(None)


class Uploads:
    """The blocks of a store, for others."""

    def __init__(
        self,
        store: BlockStore,
        *,
        slots: int,
        throttle: Throttle,
        metrics: Metrics,
        on_sent: Callable[[EditionId, int, str], None] | None = None,
    ) -> None:
        self._store = store
        self._slots = UploadSlots(slots)
        self._throttle = throttle
        self._metrics = metrics
        self._on_sent = on_sent

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return self._slots.load

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /v1/editions/{edition_id}/blocks/{block_index}`."""
        edition_id = request.match_info["edition_id"]
        index_text = request.match_info["block_index"]
        if not is_edition_id(edition_id) or not index_text.isdecimal() or len(index_text) > 9:  # noqa: PLR2004  # 10⁹ blocks are 256 TB
            raise web.HTTPNotFound(text="there is no such block\n")
        host_id = request.headers.get("Damselfly-Host", request.remote or "")[:64]
        async with self._slots.slot(host_id) as has_slot:
            if not has_slot:
                self._metrics.uploads_refused.inc()
                raise web.HTTPTooManyRequests(
                    text="all upload slots are taken\n",
                    headers={"Retry-After": f"{RETRY_AFTER_S:g}"},
                )
            return await self._send(request, EditionId(edition_id), int(index_text), host_id)

    async def _send(
        self, request: web.Request, edition_id: EditionId, block_index: int, host_id: str
    ) -> web.StreamResponse:
        entry = self._store.find(edition_id)
        if entry is None:
            raise web.HTTPNotFound(text="this edition is not held here\n")
        entry.pin()
        try:
            block = entry.sendable(block_index)
            if block is None:
                raise web.HTTPNotFound(text="this block is not held here\n")
            header = PackedHeader(
                edition_id=edition_id,
                block_index=block_index,
                plain_bytes=block.plain_bytes,
                body_bytes=block.plain_bytes,
            ).encode()
            with self._metrics.uploads_running.track_inprogress():
                response = await self._stream(request, header, block)
        except TimeoutError as exc:
            raise ConnectionResetError("the child takes no bytes") from exc
        finally:
            entry.unpin()
            if self._on_sent is not None:
                self._on_sent(edition_id, block_index, host_id)
        self._metrics.bytes_sent.inc(block.plain_bytes)
        return response

    async def _stream(
        self, request: web.Request, header: bytes, block: SendableBlock
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/octet-stream"
        response.content_length = HEADER_BYTES + block.plain_bytes + TRAILER_BYTES
        await response.prepare(request)
        await response.write(header)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the child is gone")
        _limit_child(transport)
        loop = asyncio.get_running_loop()
        step = SEND_BYTES if self._throttle.is_limited else block.plain_bytes
        for start in range(0, block.plain_bytes, step):
            count = min(step, block.plain_bytes - start)
            await self._throttle.take(count)
            await loop.sendfile(transport, block.file, block.offset + start, count)
        await response.write(trailer(header, block.body_crc32c))
        await response.write_eof()
        return response


def _limit_child(transport: asyncio.BaseTransport) -> None:
    """Limit what the kernel holds for a child, and how long for one that does not take it."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    limits = {"TCP_NOTSENT_LOWAT": NOT_SENT_BYTES_MAX, "TCP_USER_TIMEOUT": STALLED_MS_MAX}
    for name, limit in limits.items():
        if (option := getattr(socket, name, None)) is not None:  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, option, limit)
