"""A block from a parent: one GET on a connection that is kept, received straight into a buffer.

The packed block goes from the socket into its frame, without a copy in Python: a
`BufferedProtocol` gives the loop the place where the next bytes belong. Only the few bytes
of the HTTP head, the header and the trailer are looked at here. The answers that are
understood are those that our own hosts give (docs/protocols/blocks.md): HTTP/1.1 with
Content-Length, no chunks, no compression.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from damselfly.clock import now_s
from damselfly.core.task import EditionId
from damselfly.errors import (
    BlockCorruptError,
    BlockMissingError,
    ParentBusyError,
    ParentStalledError,
    ParentUnreachableError,
    RemoteProtocolError,
)
from damselfly.transport.wakeups import WakeUps
from damselfly.wire.link_messages import PREHEAT_HEADER
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, PackedHeader

HEAD_BYTES_MAX: Final = 8 << 10
CONNECT_TIMEOUT_S: Final = 3.0  # hosts of one site; a SYN is repeated after 1 s
HEAD_TIMEOUT_S: Final = 6.0  # a parent may let us wait for a slot: see uploads.WAIT_S
STALL_TIMEOUT_S: Final = 2.0  # no byte for so long: the study wants 1 to 2 s
IDLE_CONNECTIONS_MAX: Final = 2  # per address; one request per pair, and a granted one
RETRY_AFTER_S: Final = 0.25
PREHEAT_LINE: Final = f"{PREHEAT_HEADER}: 1\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAnswer:
    """A packed block as it came, in the frame that was given.

    Attributes:
        header: The header, parsed.
        header_bytes: As it came, for the trailer's check.
        body: The body, where it was received.
        trailer: As it came.
    """

    header: PackedHeader
    header_bytes: bytes
    body: memoryview
    trailer: bytes


class _Exchange(asyncio.BufferedProtocol):
    """One connection, and the answer that is coming in on it.

    The HTTP head goes into a buffer of its own, all that follows straight into the frame.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.moved_s = now_s()
        self.has_head = False
        self.is_reusable = False
        self._head = bytearray(HEAD_BYTES_MAX)
        self._head_filled = 0
        self._frame = memoryview(b"")
        self._filled = 0
        self._length = 0  # of the packed block, once the head has told it
        self._wakeups: WakeUps | None = None
        self._pending_bytes = 0
        self._answer: asyncio.Future[None] | None = None
        self.status = 0
        self.retry_after_s = RETRY_AFTER_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._wakeups = WakeUps(transport)

    def begin(self, request: bytes, frame: memoryview) -> asyncio.Future[None]:
        """Send a request; the future ends when the whole answer is here."""
        assert self.transport is not None
        self._head_filled, self.has_head, self.is_reusable = 0, False, False
        self._frame, self._filled, self._length = frame, 0, 0
        self._pending_bytes = 0
        self.moved_s = now_s()
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the protocol's signature
        if self._filled < self._length:
            return self._frame[self._filled : self._length]
        if self._head_filled >= HEAD_BYTES_MAX:
            self._fail(RemoteProtocolError(f"an HTTP head above {HEAD_BYTES_MAX} bytes"))
            return memoryview(bytearray(HEAD_BYTES_MAX))  # what still comes is thrown away
        return memoryview(self._head)[self._head_filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.moved_s = now_s()
        if self._answer is None or self._answer.done():
            self.close()  # bytes that nobody asked for
        elif self._filled < self._length:
            self._fill(nbytes)
        else:
            self._head_filled += nbytes
            self._look_for_head()

    def _look_for_head(self) -> None:
        end = self._head.find(b"\r\n\r\n", 0, self._head_filled)
        if end < 0:
            return
        rest = memoryview(self._head)[end + 4 : self._head_filled]
        try:
            length = self._parse_head(bytes(self._head[:end]))
        except (ValueError, UnicodeDecodeError):
            self._fail(RemoteProtocolError("an answer that is no HTTP"))
            return
        self.has_head = True
        if self.status != 200:  # noqa: PLR2004  # its body is a sentence; closing is cheaper
            self.is_reusable = length <= len(rest)
            self._end()
            return
        if not HEADER_BYTES + TRAILER_BYTES <= length <= len(self._frame):
            body_bytes = length - HEADER_BYTES - TRAILER_BYTES
            self._fail(RemoteProtocolError(f"a block of {body_bytes} bytes"))
            return
        self._length = length
        count = min(len(rest), length)
        self._frame[:count] = rest[:count]
        self._fill(count)

    def _parse_head(self, head: bytes) -> int:
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status = status_line.split(" ", 2)[:2]
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        self.status, length, self.retry_after_s = int(status), -1, RETRY_AFTER_S
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "retry-after":
                self.retry_after_s = min(float(value), 60.0)
        return length

    def _fill(self, count: int) -> None:
        self._filled += count
        assert self._wakeups is not None
        missing = self._length - self._filled
        if missing:
            self._wakeups.wait_for(missing)
            return
        self._wakeups.wait_for(1)
        self.is_reusable = True
        self._end()

    def look_for_progress(self) -> None:
        """Count as movement what has come in without waking us."""
        pending = self._wakeups.pending_bytes() if self._wakeups else 0
        if pending > self._pending_bytes:
            self.moved_s = now_s()
        self._pending_bytes = pending

    def _end(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def eof_received(self) -> None:
        self._fail(ConnectionResetError("closed midway"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(str(exc or "closed midway")))
        self.transport = None

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self.is_reusable = False
        if self.transport is not None:
            self.transport.abort()

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def frame(self) -> memoryview:
        """The packed block that came."""
        return self._frame[: self._length]


class BlockConnections:
    """Connections to parents, kept for the next block."""

    def __init__(self, host_id: str) -> None:
        self._host_id = host_id
        # {address: connections that nobody uses at the moment}
        self._idle: dict[str, list[_Exchange]] = defaultdict(list)
        self._asked: set[_Exchange] = set()

    @property
    def running_count(self) -> int:
        """Answers that are coming; a parent that has to choose serves those with the fewest."""
        return sum(exchange.has_head for exchange in self._asked)

    async def fetch(
        self,
        address: str,
        edition_id: EditionId,
        block_index: int,
        frame: memoryview,
        *,
        parent: str,
        held_count: int | None = None,
        is_preheat: bool = False,
        codecs: Collection[int] = (),
        ciphers: Collection[int] = (),
    ) -> BlockAnswer:
        """Ask a parent for a block, and receive it into a frame.

        Whether it is the block that was meant is for the caller to check.

        Args:
            address: `host:port` of the parent.
            edition_id: The edition.
            block_index: The block.
            frame: Room for the longest packed block that is right, and no more.
            parent: Its id, for messages.
            held_count: Blocks of the edition that are here; who has fewest is served first.
            is_preheat: Nobody waits for it; the parent serves others first.
            codecs: Ids of the codecs that can be read here, besides 0.
            ciphers: The same of ciphers.

        Raises:
            ParentError: One of its leaves, as `damselfly.errors` tells.
        """
        held = "" if held_count is None else f"Damselfly-Held: {held_count}\r\n"
        request = (
            f"GET /v1/editions/{edition_id}/blocks/{block_index} HTTP/1.1\r\n"
            f"Host: {address}\r\nDamselfly-Host: {self._host_id}\r\n"
            f"Damselfly-Running: {self.running_count}\r\n{held}"
            f"Damselfly-Codecs: {', '.join(map(str, codecs))}\r\n"
            f"{PREHEAT_LINE if is_preheat else ''}\r\n"
        ).encode()
        for _ in range(2):  # a kept connection may have been closed by the other side
            exchange, is_kept = await self._connect(address, parent)
            try:
                await self._exchange(exchange, request, frame, parent)
            except ConnectionError as exc:
                if is_kept and not exchange.has_head:
                    continue
                raise ParentUnreachableError(parent=parent, reason=str(exc)) from exc
            except RemoteProtocolError as exc:
                raise BlockCorruptError(
                    parent=parent, block_index=block_index, reason=str(exc)
                ) from exc
            finally:
                self._give_back(address, exchange)
            header = self._header(exchange, block_index, parent, codecs, ciphers)
            return self._read(exchange.frame, header, edition_id, block_index, parent)
        raise ParentUnreachableError(parent=parent, reason="closed the connection twice")

    async def _connect(self, address: str, parent: str) -> tuple[_Exchange, bool]:
        idle = self._idle[address]
        while idle:
            exchange = idle.pop()
            if exchange.is_open:
                return exchange, True
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, exchange = await asyncio.get_running_loop().create_connection(
                    _Exchange, host.strip("[]"), int(port)
                )
        except (OSError, ValueError, TimeoutError) as exc:
            reason = str(exc) or f"no connection within {CONNECT_TIMEOUT_S:g} s"
            raise ParentUnreachableError(parent=parent, reason=reason) from exc
        return exchange, False

    async def _exchange(
        self, exchange: _Exchange, request: bytes, frame: memoryview, parent: str
    ) -> None:
        loop = asyncio.get_running_loop()
        answer = exchange.begin(request, frame)
        self._asked.add(exchange)
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            limit_s = STALL_TIMEOUT_S if exchange.has_head else HEAD_TIMEOUT_S
            exchange.look_for_progress()
            left_s = exchange.moved_s + limit_s - now_s()
            if answer.done():
                return
            if left_s > 0:
                timer = loop.call_later(left_s, look)
                return
            answer.set_exception(
                ParentStalledError(parent=parent, reason=f"no byte for {limit_s:g} s")
            )

        timer = loop.call_later(STALL_TIMEOUT_S, look)
        try:
            await answer
        finally:
            self._asked.discard(exchange)
            timer.cancel()

    def _give_back(self, address: str, exchange: _Exchange) -> None:
        idle = self._idle[address]
        if exchange.is_reusable and exchange.is_open and len(idle) < IDLE_CONNECTIONS_MAX:
            idle.append(exchange)
        else:
            exchange.close()

    @staticmethod
    def _header(
        exchange: _Exchange,
        block_index: int,
        parent: str,
        codecs: Collection[int],
        ciphers: Collection[int],
    ) -> PackedHeader:
        """Return the header of an answer that is a block."""
        match exchange.status:
            case 200:
                pass
            case 404:
                raise BlockMissingError(parent=parent)
            case 429 | 503:
                raise ParentBusyError(parent=parent, retry_after_s=exchange.retry_after_s)
            case status:
                raise ParentUnreachableError(parent=parent, reason=f"it answered {status}")
        try:
            return PackedHeader.decode(exchange.frame, codecs=codecs, ciphers=ciphers)
        except RemoteProtocolError as exc:
            error = BlockCorruptError(parent=parent, block_index=block_index, reason=str(exc))
            raise error from exc

    @staticmethod
    def _read(
        frame: memoryview,
        header: PackedHeader,
        edition_id: EditionId,
        block_index: int,
        parent: str,
    ) -> BlockAnswer:
        if (header.edition_id, header.block_index) != (edition_id, block_index):
            raise BlockCorruptError(
                parent=parent, block_index=block_index, reason="another block than asked for"
            )
        if header.body_bytes != len(frame) - HEADER_BYTES - TRAILER_BYTES:
            raise BlockCorruptError(
                parent=parent, block_index=block_index, reason="its length is not its header's"
            )
        return BlockAnswer(
            header=header,
            header_bytes=bytes(frame[:HEADER_BYTES]),
            body=frame[HEADER_BYTES:-TRAILER_BYTES],
            trailer=bytes(frame[-TRAILER_BYTES:]),
        )

    def close(self) -> None:
        """Close all connections."""
        for exchanges in self._idle.values():
            for exchange in exchanges:
                exchange.close()
        self._idle.clear()
