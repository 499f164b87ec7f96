"""Bytes carried between two connections, untouched.

A side that cannot take more makes the other stop reading. A side that has said all is told
so to the other, which may go on talking. A reset is passed on as a reset, so that nobody
takes a cut answer for a whole one.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from damselfly.faces.proxy.refusals import RefusedError

BUFFER_BYTES_MAX: Final = 256 << 10  # of what one side has not taken yet; the same is read at once


class _Side(asyncio.Protocol):
    """One of the two connections."""

    def __init__(self, transport: asyncio.Transport, pair: "_Pair") -> None:
        self.transport = transport
        self.pair = pair
        self.has_ended = False  # it will send nothing more

    @property
    def other(self) -> "_Side":
        first, second = self.pair.sides
        return second if self is first else first

    def data_received(self, data: bytes) -> None:
        self.pair.moved_s = self.pair.loop.time()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.pair.moved_s = self.pair.loop.time()
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.has_ended = True
        other = self.other
        can_halve = self.transport.can_write_eof() and other.transport.can_write_eof()  # no TLS
        if other.has_ended or not can_halve:
            other.transport.close()
            return False
        if not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            reset(self.other.transport)
        else:
            self.other.transport.close()
        self.pair.lost()


class _Pair:
    """Two connections, from the moment they are joined until both are lost."""

    def __init__(self, client: asyncio.Transport, upstream: asyncio.Transport) -> None:
        self.loop = asyncio.get_running_loop()
        self.sides = (_Side(client, self), _Side(upstream, self))
        self.moved_s = self.loop.time()
        self._lost_count = 0
        self._is_over = self.loop.create_future()

    def join(self, early_to_client: bytes, early_to_upstream: bytes) -> None:
        """Carry what each says to the other from now on."""
        for side, early in zip(self.sides, (early_to_client, early_to_upstream), strict=True):
            transport = side.transport
            transport.set_protocol(side)
            transport.set_write_buffer_limits(high=BUFFER_BYTES_MAX)
            if early:
                transport.write(early)
        for side in self.sides:
            if not side.transport.is_closing():
                side.transport.resume_reading()

    def lost(self) -> None:
        """One of the two is lost."""
        self._lost_count += 1
        if self._lost_count == len(self.sides) and not self._is_over.done():
            self._is_over.set_result(None)

    async def wait(self, *, idle_timeout_s: float) -> None:
        """Wait until both are lost, or nothing has moved for too long."""
        try:
            while not self._is_over.done():
                left_s = self.moved_s + idle_timeout_s - self.loop.time()
                if left_s <= 0:
                    return
                await asyncio.wait([self._is_over], timeout=left_s)
        finally:
            for side in self.sides:
                side.transport.abort()


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection so that the other end cannot take what came for the whole."""
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Tunnels:
    """All tunnels of the proxy."""

    def __init__(self, *, tunnels_max: int, idle_timeout_s: float) -> None:
        self._tunnels_max = tunnels_max
        self._idle_timeout_s = idle_timeout_s
        self._clients: set[asyncio.Transport] = set()

    @contextlib.contextmanager
    def counted(self, client: asyncio.Transport) -> Iterator[None]:
        """Count the tunnel of a client's connection while it lasts.

        Raises:
            RefusedError: There are as many as may be.
        """
        if len(self._clients) >= self._tunnels_max:
            text = f"all {self._tunnels_max} tunnels are in use; try again, or raise tunnels_max"
            raise RefusedError(status=503, text=text, headers=(("Retry-After", "5"),))
        self._clients.add(client)
        try:
            yield
        finally:
            self._clients.discard(client)

    def end(self) -> None:
        """Close all of them: they would last for as long as their clients like."""
        for client in list(self._clients):
            client.abort()

    async def take_over(
        self, request: web.BaseRequest, upstream: asyncio.Transport, head: bytes
    ) -> web.StreamResponse:
        """Join the connection of a request with another one until both end.

        Args:
            request: Whose connection it is; no other request can follow on it.
            upstream: The other connection.
            head: What the client is sent first.

        Returns:
            An answer that leads nowhere, for the server.
        """
        client, early = transport_of(request), early_of(request)
        if client.is_closing():
            upstream.abort()
            return web.Response()
        pair = _Pair(client, upstream)
        pair.join(head, early)
        try:
            await pair.wait(idle_timeout_s=self._idle_timeout_s)
        finally:
            give_back(request)
        return web.Response()


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """Return the connection of a request.

    Raises:
        RefusedError: The client has gone; nobody reads this.
    """
    if not isinstance(request.transport, asyncio.Transport):
        raise RefusedError(status=400, text="the client has gone")
    return request.transport


def early_of(request: web.BaseRequest) -> bytes:
    """Return what came after a request that is the last one of its connection."""
    return request.protocol._message_tail  # noqa: SLF001  # nothing public has it


def give_back(request: web.BaseRequest) -> None:
    """Tell the server that the connection taken from it is no more."""
    request.protocol.connection_lost(None)
