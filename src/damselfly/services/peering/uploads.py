"""Giving blocks to others: slots, a fair queue, and bytes that the kernel sends.

Who is served when is decided in `core/uploading.py`. What preheats ask for has slots of its own,
and gives way to all else: see `giving_way.py`.
"""

import asyncio
import contextlib
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Container, Iterator
from typing import Final

import crc32c
from aiohttp import web

from damselfly.clock import now_s
from damselfly.core.blocks import Span
from damselfly.core.proxying.networks import is_loopback
from damselfly.core.task import EditionId, is_edition_id
from damselfly.core.uploading import (
    RETRY_AFTER_S,
    WAIT_S,
    Asked,
    Turn,
    UploadQueue,
    step_of,
    uploads_max,
)
from damselfly.errors import DamselflyError
from damselfly.services.options import UploadOptions
from damselfly.services.peering.giving_way import GivingWay
from damselfly.storage.store import BlockStore, SendableBlock, StoredEdition
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.tcp import tcp_socket_of
from damselfly.transport.throttle import Throttle
from damselfly.wire.link_messages import PREHEAT_HEADER
from damselfly.wire.packed_block import CODEC_IDENTITY, HEADER_BYTES, TRAILER_BYTES, trailer
from damselfly.wire.packing import Packed, pack

SEND_BYTES: Final = 256 << 10  # between two looks at a rate limit
# What is handed to the kernel and not sent yet; more would make a slot free long before its
# block has left, and let more blocks share the link than there are slots.
NOT_SENT_BYTES_MAX: Final = 128 << 10
NEAR_PIECES: Final = 4  # at least, of a block for a child on the same machine
# A child that takes nothing for so long gives its slot back; its network may be down as well.
STALLED_MS_MAX: Final = 10_000
CODECS_CHARS_MAX: Final = 1280  # all 255 ids


class UploadSlots:
    """A number of slots and those that wait for one."""

    def __init__(self, count: int) -> None:
        self._queue: UploadQueue[asyncio.Future[None]] = UploadQueue(count)

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return self._queue.load

    @contextlib.asynccontextmanager
    async def slot(self, asked: Asked) -> AsyncIterator[bool]:
        """Wait for a slot and keep it inside the block; False: there was none in time."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not await self._wait(turn, asked):
            yield False
            return
        try:
            yield True
        finally:
            self._release(turn)

    async def _wait(self, turn: asyncio.Future[None], asked: Asked) -> bool:
        match self._queue.ask(turn, asked):
            case Turn.NOW:
                return True
            case Turn.REFUSED:
                return False
            case Turn.LATER:
                pass
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except TimeoutError:
            return not self._queue.forget(turn)  # a slot may come in the same moment
        except asyncio.CancelledError:
            if not self._queue.forget(turn):
                self._release(turn)
            raise
        return True

    def _release(self, turn: asyncio.Future[None]) -> None:
        for each in self._queue.end(turn):
            if not each.done():
                each.set_result(None)


class Uploads:
    """The blocks of a store, for others.

    Attributes:
        on_carried: Told of each that went over a link as fast as that goes: how many bytes, when
            it began and when it ended.
    """

    def __init__(
        self,
        store: BlockStore,
        options: UploadOptions,
        *,
        slots: int,
        trickle_bytes_per_s: float,
        metrics: Metrics,
        is_gradual: bool = True,
        on_sent: Callable[[EditionId, int, str], None] | None = None,
    ) -> None:
        """Make them.

        Args:
            store: Of these blocks.
            options: How they are sent.
            slots: Uploads at a time, and as many of preheats.
            trickle_bytes_per_s: What is left to preheats beside other uploads.
            metrics: Where they are counted.
            is_gradual: What is hardly held goes to few at a time; the SuperNode grants its
                blocks, and so has chosen to how many.
            on_sent: Told of each that has ended.
        """
        self._store = store
        self._congestion_control = options.congestion_control
        self._slots, self._preheat_slots = UploadSlots(slots), UploadSlots(slots)
        self._giving_way = GivingWay(trickle_bytes_per_s)
        self._is_gradual = is_gradual
        self._throttle = Throttle(options.rate_bytes_per_s)
        self._metrics = metrics
        self._on_sent = on_sent
        self.on_carried: Callable[[int, float, float], None] = lambda *_: None

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return self._slots.load + self._preheat_slots.load

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /v1/editions/{edition_id}/blocks/{block_index}`."""
        edition_id = request.match_info["edition_id"]
        index_text = request.match_info["block_index"]
        if not is_edition_id(edition_id) or not index_text.isdecimal() or len(index_text) > 9:  # noqa: PLR2004  # 10⁹ blocks are 256 TB
            raise web.HTTPNotFound(text="there is no such block\n")
        entry = self._found(EditionId(edition_id))
        entry.pin()  # while it waits as well
        try:
            return await self._give(request, entry, int(index_text))
        finally:
            entry.unpin()

    async def _give(
        self, request: web.Request, entry: StoredEdition, block_index: int
    ) -> web.StreamResponse:
        host_id = request.headers.get("Damselfly-Host", request.remote or "")[:64]
        is_preheat = PREHEAT_HEADER in request.headers
        slots = self._preheat_slots if is_preheat else self._slots
        with contextlib.nullcontext() if is_preheat else self._giving_way.live():
            async with slots.slot(self._asked(request, host_id, entry)) as has_slot:
                if not has_slot:
                    self._metrics.uploads_refused.inc()
                    raise web.HTTPTooManyRequests(
                        text="all upload slots are taken\n",
                        headers={"Retry-After": f"{RETRY_AFTER_S:g}"},
                    )
                return await self._send(request, entry, block_index, host_id)

    def _found(self, edition_id: EditionId) -> StoredEdition:
        entry = self._store.find(edition_id)
        if entry is None:
            raise web.HTTPNotFound(text="this edition is not held here\n")
        return entry

    def _asked(self, request: web.Request, host_id: str, entry: StoredEdition) -> Asked:
        own_count, edition = len(entry.held), entry.edition
        block_count = None if edition.size_bytes is None else edition.layout.block_count
        held_count = _number(request.headers.get("Damselfly-Held", ""))
        return Asked(
            host_id,
            edition.edition_id,
            running_count=_number(request.headers.get("Damselfly-Running", "")) or 0,
            step=step_of(held_count, own_count=own_count, block_count=block_count),
            uploads_max=uploads_max(own_count) if self._is_gradual else sys.maxsize,
        )

    async def _send(
        self,
        request: web.Request,
        entry: StoredEdition,
        block_index: int,
        host_id: str,
    ) -> web.StreamResponse:
        codecs = _codecs_told(request.headers.get("Damselfly-Codecs", ""))
        try:
            block = entry.sendable(block_index)
            if block is None:
                raise web.HTTPNotFound(text="this block is not held here\n")
            other = await self._form_for(entry, block, codecs)
            began_s = now_s()
            with self._metrics.uploads_running.track_inprogress():
                response = await self._stream(request, block, other)
        except TimeoutError as exc:
            raise ConnectionResetError("the child takes no bytes") from exc
        finally:
            if self._on_sent is not None:
                self._on_sent(entry.edition.edition_id, block_index, host_id)
        sent_bytes = (other or block).header.body_bytes
        self._metrics.bytes_sent.inc(sent_bytes)
        if not (PREHEAT_HEADER in request.headers or _is_near(request)):
            self.on_carried(sent_bytes, began_s, now_s())
        return response

    @staticmethod
    async def _form_for(
        entry: StoredEdition, block: SendableBlock, codecs: Container[int]
    ) -> Packed | None:
        """Return a block packed without its codec for a child that lacks it, else None.

        What is sealed leaves sealed, with the same key; that takes the key.

        Raises:
            HTTPNotFound: It cannot be read here.
        """
        header = block.header
        if header.codec == CODEC_IDENTITY or header.codec in codecs:
            return None
        key = entry.data_key
        if header.cipher and key is None:  # plain bytes that are kept must not leave for it
            raise web.HTTPNotFound(text="this block is sealed, and its key is not here\n")
        start = header.block_index * entry.edition.block_bytes
        span = Span(start, start + header.plain_bytes)

        def packed_again() -> Packed:
            return pack(
                entry.read_span(span),
                edition_id=header.edition_id,
                block_index=header.block_index,
                key=key,
            )

        try:
            return await asyncio.to_thread(packed_again)
        except DamselflyError as exc:
            raise web.HTTPNotFound(text=f"this block cannot be read here: {exc}\n") from exc

    async def _stream(
        self,
        request: web.Request,
        block: SendableBlock,
        other: Packed | None,
    ) -> web.StreamResponse:
        """Send a block as it lies, or in another form."""
        header = (other or block).header
        head = header.encode()
        response = web.StreamResponse()
        response.content_type = "application/octet-stream"
        response.content_length = HEADER_BYTES + header.body_bytes + TRAILER_BYTES
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the child is gone")
        # On this machine there is no link to share, and each small piece only wakes both ends.
        share = header.body_bytes // NEAR_PIECES if _is_near(request) else 0
        unsent_bytes = max(NOT_SENT_BYTES_MAX, share)
        _limit_child(transport, self._congestion_control, unsent_bytes=unsent_bytes)
        is_preheat = PREHEAT_HEADER in request.headers
        with self._giving_way.preheat(transport) if is_preheat else contextlib.nullcontext():
            with _in_full_packets(transport):
                await response.prepare(request)
                await response.write(head)
                await self._send_body(response, transport, block, other)
                body_crc32c = block.body_crc32c if other is None else crc32c.crc32c(other.body)
                await response.write(trailer(head, body_crc32c))
                await response.write_eof()
            if is_preheat:
                await self._giving_way.drained(transport)
        return response

    async def _send_body(
        self,
        response: web.StreamResponse,
        transport: asyncio.Transport,
        block: SendableBlock,
        other: Packed | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        body_bytes = (other or block).header.body_bytes
        step = SEND_BYTES if self._throttle.is_limited else body_bytes
        for start in range(0, body_bytes, step):
            count = min(step, body_bytes - start)
            await self._throttle.take(count)
            if other is None:
                await loop.sendfile(transport, block.file, block.offset + start, count)
            else:
                await response.write(other.body[start : start + count])


def _number(text: str) -> int | None:
    """Return a number that a child says; what is none, or has more than nine digits, is None."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _codecs_told(text: str) -> frozenset[int]:
    """Return the codecs that a child says it knows; what is no id is none."""
    names = (name.strip() for name in text[:CODECS_CHARS_MAX].split(","))
    return frozenset(int(name) for name in names if name.isascii() and name.isdecimal())


def _is_near(request: web.Request) -> bool:
    """Say whether a child is on this machine."""
    return request.remote is None or is_loopback(request.remote)


@contextlib.contextmanager
def _in_full_packets(transport: asyncio.BaseTransport) -> Iterator[None]:
    """Let the kernel put together what is sent inside the block: each packet costs both ends.

    The HTTP head, the header and the trailer are short; each would be a packet of its own, and the
    first two would wake the child for nothing.
    """
    sock, option = tcp_socket_of(transport), getattr(socket, "TCP_CORK", None)
    if sock is None or option is None:
        yield
        return
    sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it was closed
            sock.setsockopt(socket.IPPROTO_TCP, option, 0)


def _limit_child(
    transport: asyncio.BaseTransport, congestion_control: str, *, unsent_bytes: int
) -> None:
    """Limit what the kernel holds for a child, and how long for one that does not take it.

    Args:
        transport: To the child.
        congestion_control: How TCP finds out how fast it may send; empty: as the kernel does.
        unsent_bytes: So much may wait in the kernel to be sent.
    """
    sock = tcp_socket_of(transport)
    if sock is None:
        return
    limits = {"TCP_NOTSENT_LOWAT": unsent_bytes, "TCP_USER_TIMEOUT": STALLED_MS_MAX}
    for name, limit in limits.items():
        if (option := getattr(socket, name, None)) is not None:  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, option, limit)
    option = getattr(socket, "TCP_CONGESTION", None)
    if option is not None and congestion_control:
        with contextlib.suppress(OSError):  # the kernel has it not, or only for the mighty
            sock.setsockopt(socket.IPPROTO_TCP, option, congestion_control.encode())
