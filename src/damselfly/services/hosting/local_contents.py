"""Contents read by programs of this host over its Unix socket, while they come.

A content is open as long as the connection that opened it: a program that dies leaves nothing
behind. What ends it early is told on that connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from damselfly.errors import DamselflyError
from damselfly.services.cache_care.routes import failed
from damselfly.services.downloading.content import Content, Stretch
from damselfly.services.downloading.downloads import Downloads
from damselfly.telemetry.log import get_log
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.local_messages import ContentOpened, decode_request, encode_line

DIGITS_MAX: Final = 19  # 2⁶³ has as many

log = get_log()


@dataclass(frozen=True, slots=True)
class _Open:
    content: Content
    failure: asyncio.Future[DamselflyError]


class LocalContents:
    """The contents that programs have open."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads
        self._open: dict[str, _Open] = {}
        self._next_id = 0

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/v1/contents", self._post)
        app.router.add_get("/v1/contents/{content_id}/bytes", self._bytes)
        app.router.add_get("/v1/contents/{content_id}/reach", self._reach)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        """Open a content, and keep it open while the connection is."""
        body = await request.read()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async with self._downloads.read(decode_request(body)) as content:
                error = await self._keep_open(content, response)
        except DamselflyError as exc:
            error = exc
        except Exception as exc:  # a supervisor: this content ends, the daemon stays
            log.exception("content_broke")
            error = DamselflyError(f"a bug of ours ended the reading: {exc!r}")
        await response.write(encode_line(failed(error)))
        await response.write_eof()
        return response

    async def _keep_open(self, content: Content, response: web.StreamResponse) -> DamselflyError:
        """Have a content open until the client goes, or it fails; return why it failed."""
        self._next_id += 1
        content_id = str(self._next_id)
        failure: asyncio.Future[DamselflyError] = asyncio.get_running_loop().create_future()
        self._open[content_id] = _Open(content, failure)
        edition = content.edition
        told = ContentOpened(
            content_id=content_id,
            size_bytes=-1 if edition.size_bytes is None else edition.size_bytes,
            task_id=edition.task_id,
            edition_id=edition.edition_id,
            etag=edition.validators.etag,
            digest=str(content.digest or ""),
            content_path=content.content_path,
        )
        try:
            await response.write(encode_line(told))
            return await failure
        finally:
            del self._open[content_id]

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        """Send bytes as they come."""
        return await self._follow(request, Stretch.bodies)

    async def _reach(self, request: web.Request) -> web.StreamResponse:
        """Say how far bytes are there, as they come."""
        reach = _number(request, "start") or 0

        async def line(stretch: Stretch) -> AsyncIterator[bytes]:
            nonlocal reach
            reach += stretch.count
            yield b"%d\n" % reach

        return await self._follow(request, line)

    async def _follow(
        self, request: web.Request, told: Callable[[Stretch], AsyncIterator[Buffer]]
    ) -> web.StreamResponse:
        """Answer with what is told of each stretch, as soon as it is there."""
        opened = self._open.get(request.match_info["content_id"])
        if opened is None:
            raise web.HTTPNotFound(text="there is no such content open\n")
        start = _number(request, "start") or 0
        stop = _number(request, "stop")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        try:
            size = opened.content.size_bytes
            if size is None or start < size:
                async for stretch in opened.content.stretches(start, stop):
                    async for data in told(stretch):
                        await response.write(data)
            await response.write_eof()
        except DamselflyError as exc:
            if not opened.failure.done():
                opened.failure.set_result(exc)
            response.force_close()
            if request.transport is not None:
                request.transport.close()
        return response


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < DIGITS_MAX):
        raise web.HTTPBadRequest(text=f"{name} must be a number of bytes\n")
    return int(text)
