"""An HTTP answer from a content that is on its way.

The head is sent when the first bytes are here, so that whatever ends the download before
them becomes a status. Afterwards nothing but a reset can say that the rest will not come.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from aiohttp import web

from damselfly.core.blocks import Span
from damselfly.errors import DamselflyError, RangeUnsatisfiableError
from damselfly.faces.proxy.tunnel import reset
from damselfly.services.content import Content, Stretch
from damselfly.telemetry.log import get_log
from damselfly.wire.byte_ranges import format_content_range, parse_range

OK, PARTIAL = 200, 206

log = get_log()


async def answer(
    request: web.BaseRequest, content: Content, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a GET or HEAD with a content, or with the part that its Range asks for.

    Args:
        request: What is answered.
        content: What with.
        headers: Further headers of the answer, such as Content-Type and ETag; the ETag is
            what If-Range is compared with.

    Raises:
        RangeUnsatisfiableError: The part does not exist.
        DamselflyError: The content cannot be had; nothing has been sent.
    """
    size = content.size_bytes
    span = _span_asked(request, headers, size)
    if request.method == "HEAD":
        return await _head(request, headers, span, size)
    first, stop = (span.start_byte, span.stop_byte) if span else (0, None)
    async with aclosing(content.stretches(first, stop)) as stretches:
        stretch = await anext(stretches, None)  # before the head is sent
        size = content.size_bytes  # by now it may be known
        response = _response(headers, span, size)
        await response.prepare(request)
        try:
            if stretch is not None:
                await _send(request, response, stretch)
            async for later in stretches:
                await _send(request, response, later)
            await response.write_eof()
        except ConnectionError:
            pass  # the requester has gone
        except (DamselflyError, OSError) as exc:
            log.warning("answer_aborted", url=content.spec.display_url, reason=str(exc))
            abort(request)
        except BaseException:
            abort(request)
            raise
    return response


def unsatisfiable(error: RangeUnsatisfiableError) -> web.Response:
    """Return the answer to a range that does not exist."""
    return web.Response(
        status=error.http_status,
        text=f"{error}\n",
        headers={"Content-Range": f"bytes */{error.size_bytes}"},
    )


def abort(request: web.BaseRequest) -> None:
    """Reset the connection, so that nobody takes what was sent for the whole."""
    if request.transport is not None:
        reset(request.transport)


def _span_asked(
    request: web.BaseRequest, headers: Mapping[str, str], size_bytes: int | None
) -> Span | None:
    """Return the part that is asked for; None is the whole."""
    condition = request.headers.get("If-Range", "")
    is_same = condition in ("", headers.get("ETag", ""), headers.get("Last-Modified", ""))
    if size_bytes is None or request.method != "GET" or not is_same:
        return None
    return parse_range(request.headers.get("Range", ""), size_bytes)


def _response(
    headers: Mapping[str, str], span: Span | None, size_bytes: int | None
) -> web.StreamResponse:
    response = web.StreamResponse(status=PARTIAL if span else OK, headers=dict(headers))
    if size_bytes is None:
        response.enable_chunked_encoding()
        return response
    response.headers["Accept-Ranges"] = "bytes"
    response.content_length = len(span) if span else size_bytes
    if span:
        response.headers["Content-Range"] = format_content_range(span, size_bytes)
    return response


async def _head(
    request: web.BaseRequest, headers: Mapping[str, str], span: Span | None, size_bytes: int | None
) -> web.StreamResponse:
    response = _response(headers, span, size_bytes)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _send(request: web.BaseRequest, response: web.StreamResponse, stretch: Stretch) -> None:
    """Send a stretch; without chunk encoding and TLS the kernel does it."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the requester has gone")
    # By TLS the loop would seek in the file, which others read from at the same time.
    if response.chunked or transport.get_extra_info("sslcontext") is not None:
        await response.write(await asyncio.to_thread(stretch.read))
        return
    loop = asyncio.get_running_loop()
    await loop.sendfile(transport, stretch.file, stretch.offset, stretch.count)
