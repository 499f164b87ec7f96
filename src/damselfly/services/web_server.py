"""HTTP for the services: one server with limits, one client, and errors in our words."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web

from damselfly.errors import AddressInUseError

HEAD_BYTES_MAX: Final = 32 << 10  # signed URLs never come here; a session has short requests
BODY_BYTES_MAX: Final = 1 << 20
KEEPALIVE_S: Final = 75.0
SHUTDOWN_S: Final = 2.0  # what runs longer is cut; the other side resumes elsewhere
BACKLOG: Final = 4096  # a fleet that starts at once


def client_session() -> aiohttp.ClientSession:
    """Return a client for sessions and links; no limit of its own on connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _runner(app: web.Application, *, cancels: bool = False) -> web.AppRunner:
    """Return a runner; with `cancels` a handler ends when its requester goes away."""
    app._client_max_size = BODY_BYTES_MAX  # noqa: SLF001  # no other way after construction
    return web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=cancels,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )


@contextlib.asynccontextmanager
async def serving(app: web.Application, listen: str) -> AsyncIterator[str]:
    """Serve an application on `host:port`; gives the `host:port` that was taken.

    Raises:
        AddressInUseError: Somebody else listens there, or we may not.
    """
    host, _, port = listen.rpartition(":")
    runner = _runner(app)
    await runner.setup()
    try:
        try:
            sock = _listening_socket(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            raise AddressInUseError(
                address=listen, reason=f"{reason.lower()}; choose another address or port"
            ) from exc
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        taken = sock.getsockname()
        shown = f"[{taken[0]}]" if ":" in taken[0] else taken[0]
        yield f"{shown}:{taken[1]}"
    finally:
        await runner.cleanup()


def _listening_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.asynccontextmanager
async def serving_unix(
    app: web.Application, path: str, *, mode: int, group_id: int
) -> AsyncIterator[None]:
    """Serve an application on a Unix socket; -1 leaves the group as it is.

    Raises:
        AddressInUseError: Another process answers there, or we may not make it.
    """
    if await _answers(path):
        reason = "another process answers on this socket; stop it or choose another path"
        raise AddressInUseError(address=path, reason=reason)
    runner = _runner(app, cancels=True)
    await runner.setup()
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  # left by a process that was killed
            old_mask = os.umask(0o177)
            try:
                await web.UnixSite(runner, path).start()
            finally:
                os.umask(old_mask)
            os.chown(path, -1, group_id)
            os.chmod(path, mode)  # noqa: PTH101
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise AddressInUseError(address=path, reason=reason.lower()) from exc
        yield
    finally:
        await runner.cleanup()
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108


async def _answers(path: str) -> bool:
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
