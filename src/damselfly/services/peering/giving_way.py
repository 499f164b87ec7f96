"""Uploads of preheats give way to those that somebody waits for: they trickle while there are any.

The kernel holds them back, by a limit on each connection: what it has been handed already then
leaves slowly as well, and no block is in the way of another one. A block of a live download that
follows soon after another is the same pull, so the trickle goes on a little after the last one.
Where the kernel has no such limit, all share the link.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from typing import Final

from damselfly.transport.tcp import tcp_socket_of

RATE_MIN_BYTES_PER_S: Final = 16e3  # of each: a child takes two seconds without a byte as a stall
LINGER_S: Final = 0.5
LOOK_S: Final = 0.05
SO_MAX_PACING_RATE: Final = 47  # Linux's; `socket` has no name for it
UNLIMITED: Final = (1 << 32) - 1


class GivingWay:
    """Knows the uploads of live downloads and of preheats that run at this moment."""

    def __init__(self, trickle_bytes_per_s: float) -> None:
        self._rate = trickle_bytes_per_s
        self._live_count = 0
        self._sockets: set[socket.socket] = set()
        self._is_trickling = False
        self._lingering: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Count an upload that somebody waits for; it may wait for a slot itself."""
        self._live_count += 1
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if not self._is_trickling:
            self._is_trickling = True
            self._share_out()
        try:
            yield
        finally:
            self._live_count -= 1
            if not self._live_count:
                loop = asyncio.get_running_loop()
                self._lingering = loop.call_later(LINGER_S, self._end_trickle)

    @contextlib.contextmanager
    def preheat(self, transport: asyncio.BaseTransport) -> Iterator[None]:
        """Hold back what is sent over a connection inside the block, as long as it must be."""
        sock = tcp_socket_of(transport)
        if sock is None or sys.platform != "linux":
            yield
            return
        self._sockets.add(sock)
        if self._is_trickling:
            self._share_out()
        try:
            yield
        finally:
            self._sockets.discard(sock)
            if self._is_trickling:
                _limit(sock, UNLIMITED)  # it is kept, perhaps for a live download
                self._share_out()

    async def drained(self, transport: asyncio.Transport) -> None:
        """Wait until what was sent has left, or may leave quickly: until then it has its slot."""
        while self._is_trickling and not transport.is_closing() and _unsent_bytes(transport):  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(LOOK_S)

    def _end_trickle(self) -> None:
        self._lingering = None
        self._is_trickling = False
        self._share_out()

    def _share_out(self) -> None:
        rate = UNLIMITED
        if self._is_trickling and self._sockets:
            rate = int(max(self._rate / len(self._sockets), RATE_MIN_BYTES_PER_S))
        for sock in self._sockets:
            _limit(sock, rate)


def _unsent_bytes(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int(struct.unpack("i", answer)[0])


def _limit(sock: socket.socket, rate_bytes_per_s: int) -> None:
    with contextlib.suppress(OSError):  # it was closed
        sock.setsockopt(
            *(socket.SOL_SOCKET, SO_MAX_PACING_RATE), struct.pack("=I", rate_bytes_per_s)
        )
