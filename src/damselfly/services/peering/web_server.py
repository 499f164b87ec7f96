"""HTTP for the services: one server with limits, one client, and errors in our words."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from damselfly.errors import AddressInUseError
from damselfly.telemetry.log import get_log

HEAD_BYTES_MAX: Final = 32 << 10  # signed URLs never come here; a session has short requests
BODY_BYTES_MAX: Final = 1 << 20
KEEPALIVE_S: Final = 75.0
SHUTDOWN_S: Final = 2.0  # what runs longer is cut; the other side resumes elsewhere
BACKLOG: Final = 4096  # a fleet that starts at once
# What asyncio takes from the backlog at a time. Out of files, it tries as often, with a line in
# the log for each, every second: a daemon wrote 4 MB a second with its whole backlog.
ACCEPTED_AT_ONCE: Final = 1


log = get_log()


class _ServerLog(logging.Handler):
    """Passes on what aiohttp's server has to say.

    What a stranger sent that is no HTTP is not written down: it may hold a secret, and 10 MB of
    it would become 40 MB of log.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line of our own."""
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, HttpProcessingError | ConnectionError):
            log.debug("request_refused", reason=type(exc).__name__)
        else:
            reason = record.getMessage()
            log.error("request_broke", reason=reason, exc_info=record.exc_info or None)


def server_logger() -> logging.Logger:
    """Return what aiohttp's servers log to."""
    logger = logging.getLogger("damselfly.web")
    if not logger.handlers:
        logger.addHandler(_ServerLog())
        logger.propagate = False
    return logger


def client_session() -> aiohttp.ClientSession:
    """Return a client for sessions and links; no limit of its own on connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _runner(app: web.Application, *, cancels: bool = False) -> web.AppRunner:
    """Return a runner; with `cancels` a handler ends when its requester goes away."""
    app._client_max_size = BODY_BYTES_MAX  # noqa: SLF001  # no other way after construction
    app.on_response_prepare.append(_close_if_not_upgraded)
    runner = web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=cancels,
        access_log=None,
        auto_decompress=False,  # a body that is passed on stays as it is
        logger=server_logger(),
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )
    await runner.setup()
    assert runner.server is not None
    take_any_host(runner.server)
    return runner


def take_any_host(server: web.Server) -> None:
    """Let a server answer requests in absolute form whose host is none.

    aiohttp decodes it, and where that fails (`xn--.example`) it leaves the client without an
    answer, the connection open. Nothing here reads that URL: what is asked is in `raw_path`.
    """
    make = server.request_factory

    def made(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:  # noqa: ANN401
        try:
            return make(message, *rest)
        except UnicodeError:
            return make(message._replace(url=URL("/")), *rest)

    server.request_factory = made


async def _listen(runner: web.AppRunner, sock: socket.socket) -> None:
    await web.SockSite(runner, sock, backlog=ACCEPTED_AT_ONCE).start()
    sock.listen(BACKLOG)


async def _close_if_not_upgraded(request: web.Request, response: web.StreamResponse) -> None:
    """What follows a request to upgrade is no HTTP: nobody reads it if it was refused."""
    if "Upgrade" in request.headers and not isinstance(response, web.WebSocketResponse):
        response.force_close()


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, listen: str, *, cancels: bool = False
) -> AsyncIterator[str]:
    """Serve an application on `host:port`; gives the `host:port` that was taken.

    Args:
        app: What is served.
        listen: Where.
        cancels: A handler ends when its requester goes away.

    Raises:
        AddressInUseError: Somebody else listens there, or we may not.
    """
    host, _, port = listen.rpartition(":")
    runner = await _runner(app, cancels=cancels)
    try:
        try:
            sock = _listening_socket(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise AddressInUseError(
                address=listen, reason=f"{reason.lower()}; choose another address or port"
            ) from exc
        await _listen(runner, sock)
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
        AddressInUseError: Another process answers there, something else lies there, or we may
            not make it.
    """
    if await _answers(path):
        reason = "another process answers on this socket; stop it or choose another path"
        raise AddressInUseError(address=path, reason=reason)
    runner = await _runner(app, cancels=True)
    try:
        try:
            _make_way(path)
            sock = socket.socket(socket.AF_UNIX)
            old_mask = os.umask(0o177)
            try:
                sock.bind(path)
            except OSError:
                sock.close()
                raise
            finally:
                os.umask(old_mask)
            await _listen(runner, sock)
            os.chown(path, -1, group_id)
            os.chmod(path, mode)  # noqa: PTH101
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise AddressInUseError(address=path, reason=reason.lower()) from exc
        yield
    finally:
        await runner.cleanup()
        with contextlib.suppress(OSError):
            _make_way(path)


def _make_way(path: str) -> None:
    """Remove our socket, or one that a killed process left; nothing else is ours to remove.

    Raises:
        OSError: Something else lies there.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "it is there and no socket; choose another path")
        os.unlink(path)  # noqa: PTH108


async def _answers(path: str) -> bool:
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
