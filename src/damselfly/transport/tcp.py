"""What is TCP below a connection."""

import asyncio
import socket


def tcp_socket_of(transport: asyncio.BaseTransport) -> socket.socket | None:
    """Return the socket of a connection by TCP, None: it has none, or another kind."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    return None if sock is None or sock.family == socket.AF_UNIX else sock
