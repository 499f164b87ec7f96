"""The cache by a Unix socket: the HTTP of `damselfly cache`. See docs/protocols/local.md."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from damselfly.clock import wall_s
from damselfly.errors import DamselflyError, NotPermittedError
from damselfly.services.cache_care.importing import import_content
from damselfly.services.cache_care.orders import CacheOrders, seen
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.wire.cache_messages import CacheChanged, CacheOrder, ImportOrder, decode_json
from damselfly.wire.local_messages import DownloadFailed

LINE_BYTES_MAX: Final = 64 << 10
_PEER: Final = struct.Struct("3i")  # pid, uid, gid

Announce = Callable[[ImportOrder, StoredEdition], bool]

log = get_log()


def failed(error: DamselflyError) -> DownloadFailed:
    """Return an error as a requester is told it."""
    return DownloadFailed(
        error=type(error).__name__,
        message=str(error),
        exit_code=error.exit_code,
        http_status=error.http_status,
    )


class CacheRoutes:
    """Answers what operators ask; who may write to the socket besides them may only look."""

    def __init__(
        self,
        store: BlockStore,
        orders: CacheOrders,
        *,
        announce: Announce = lambda _order, _entry: False,
    ) -> None:
        """Take the cache.

        Args:
            store: The cache.
            orders: Carries out what is ordered of it.
            announce: Tells others of what was imported; returns whether they were told.
        """
        self._store = store
        self._orders = orders
        self._announce = announce

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/v1/cache", self._answering(self._list))
        app.router.add_post("/v1/cache", self._answering(self._order))
        app.router.add_post("/v1/cache/imports", self._answering(self._import))
        app.router.add_get("/v1/cache/content", self._content)

    def _answering(
        self, answer: Callable[[web.Request], Awaitable[msgspec.Struct]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return a handler that tells an error of ours as a message."""

        async def handle(request: web.Request) -> web.Response:
            told: msgspec.Struct
            try:
                told = await answer(request)
            except DamselflyError as exc:
                told = failed(exc)
            data = msgspec.json.encode(told) + b"\n"
            return web.Response(body=data, content_type="application/json")

        return handle

    async def _list(self, _: web.Request) -> msgspec.Struct:
        return await asyncio.to_thread(self._orders.listing)

    async def _order(self, request: web.Request) -> msgspec.Struct:
        _require_operator(request)
        order: CacheOrder = decode_json(await request.read(), CacheOrder)
        return await asyncio.to_thread(self._orders.carry_out, order)

    async def _import(self, request: web.Request) -> msgspec.Struct:
        _require_operator(request)
        line = await request.content.readline()
        order: ImportOrder = decode_json(line[:LINE_BYTES_MAX], ImportOrder)

        async def read(count: int) -> bytes:
            parts: list[bytes] = []
            while count and (part := await request.content.read(count)):
                parts.append(part)
                count -= len(part)
            return b"".join(parts)

        entry = await import_content(self._store, order, read, now_wall_s=wall_s())
        log.info("content_imported", url=entry.edition.display_url, bytes=order.size_bytes)
        told = self._announce(order, entry)
        return CacheChanged(tasks=(seen(entry),), told=told)

    async def _content(self, request: web.Request) -> web.StreamResponse:
        try:
            _require_operator(request)
            entry = await asyncio.to_thread(self._orders.find, request.query.get("name", ""))
        except DamselflyError as exc:
            raise web.HTTPConflict(body=msgspec.json.encode(failed(exc)) + b"\n") from exc
        entry.pin()
        try:
            response = web.StreamResponse()
            response.content_length = entry.edition.size_bytes or 0
            await response.prepare(request)
            layout = entry.edition.layout
            for index in range(layout.block_count):
                body = await asyncio.to_thread(entry.read_span, layout.span(index))
                await response.write(body)
            await response.write_eof()
        finally:
            entry.unpin()
        return response


def _require_operator(request: web.Request) -> None:
    """Let nobody but root and the process's own user change the cache, or take from it.

    Others in the socket's group may download; what is private here they get from the source.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return  # not on every system; the socket's mode is what there is
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        raise NotPermittedError(what="the cache")
    _, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in (0, os.geteuid()):
        raise NotPermittedError(what="the cache")
