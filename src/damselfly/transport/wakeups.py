"""How often the kernel wakes us while many bytes come in on a connection.

By default it does for each packet that it finds; each time costs a turn of the event loop,
and at 80 Mbit/s that cost as much as all the rest (bench/arena.py). So it is told how many
bytes we are waiting for. What came without waking us can be asked for.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

WAKE_BYTES: Final = 256 << 10


class WakeUps:
    """The wake-ups of one connection; without TCP or below TLS it leaves them alone."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        is_plain = transport.get_extra_info("sslcontext") is None
        # Below TLS the bytes of the socket are not those that its reader waits for.
        self._socket = transport.get_extra_info("socket") if is_plain else None
        self._count = 1

    def wait_for(self, count: int) -> None:
        """Be woken when so many bytes are there, or `WAKE_BYTES`, or the end."""
        count = min(count, WAKE_BYTES)
        if self._socket is None or count == self._count:
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        self._count = count

    def pending_bytes(self) -> int:
        """Return how many bytes came that we were not woken for."""
        if self._socket is None or self._socket.fileno() < 0:
            return 0
        answer = fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])
