"""An HTTP answer from a content that is on its way.

The head is sent when the first bytes are here, so that whatever ends the download before
them becomes a status. Afterwards nothing but a reset can say that the rest will not come.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import web

from damselfly.clock import now_s
from damselfly.core.blocks import Span
from damselfly.errors import DamselflyError, RangeUnsatisfiableError
from damselfly.faces.proxy.tunnel import reset
from damselfly.services.downloading.content import Content, Stretch
from damselfly.telemetry.log import get_log
from damselfly.wire.byte_ranges import format_content_range, parse_range
from damselfly.wire.conditions import is_none_match

OK, PARTIAL, UNCHANGED = 200, 206, 304
FROM_HEADER: Final = "X-Damselfly-From"

log = get_log()


async def answer(
    request: web.BaseRequest, content: Content, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a GET or HEAD with a content, or with the part that its Range asks for.

    With 304 who has it already.

    Writes one line into the log, with the bytes of the content by where they came from.

    Args:
        request: What is answered.
        content: What with.
        headers: Further headers of the answer, such as Content-Type and ETag; the ETag is
            what If-Range and If-None-Match are compared with.

    Raises:
        RangeUnsatisfiableError: The part does not exist.
        DamselflyError: The content cannot be had; nothing has been sent.
    """
    if has_already(request, headers.get("ETag", "")):
        return unchanged(headers)
    started_s = now_s()
    span = _span_asked(request, headers, content.size_bytes)
    if request.method == "HEAD":
        return await _head(request, headers, span, content)
    first, stop = (span.start_byte, span.stop_byte) if span else (0, None)
    async with aclosing(content.stretches(first, stop)) as stretches:
        stretch = await anext(stretches, None)  # before the head is sent
        response = _response(headers, span, content)
        await response.prepare(request)
        outcome = "finished"
        try:
            if stretch is not None:
                await _send(request, response, stretch)
            async for later in stretches:
                await _send(request, response, later)
            await response.write_eof()
        except ConnectionError:
            outcome = "left"
        except (DamselflyError, OSError) as exc:
            outcome = f"aborted: {exc}"
            abort(request)
        except asyncio.CancelledError:
            outcome = "left"
            raise
        except BaseException:
            outcome = "broke"
            abort(request)
            raise
        finally:
            log_answer(content, outcome=outcome, seconds=now_s() - started_s)
    return response


def log_answer(content: Content, *, outcome: str, seconds: float) -> None:
    """Write the one line about an answer from a content."""
    by = content.bytes_by
    log.info(
        "answered",
        url=content.spec.display_url,
        outcome=outcome,
        seconds=round(seconds, 3),
        size_bytes=content.size_bytes,
        cache_bytes=by.cache,
        peers_bytes=by.peers,
        supernode_bytes=by.supernode,
        source_bytes=by.source,
    )


def told_from(content: Content) -> str:
    """Return the value of `FROM_HEADER`: what is here by now, by where it came from."""
    by = content.bytes_by
    return f"peers={by.peers},supernode={by.supernode},source={by.source},cache={by.cache}"


def has_already(request: web.BaseRequest, etag: str) -> bool:
    """Say whether the client has what bears an entity tag, and asks whether it still does."""
    return bool(etag) and is_none_match(request.headers.getall("If-None-Match", ()), etag)


def unchanged(headers: Mapping[str, str]) -> web.Response:
    """Return the answer to who has it already, out of the headers of the full one."""
    return web.Response(
        status=UNCHANGED,
        headers={name: value for name, value in headers.items() if name != "Content-Type"},
    )


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
    headers: Mapping[str, str], span: Span | None, content: Content
) -> web.StreamResponse:
    response = web.StreamResponse(status=PARTIAL if span else OK, headers=dict(headers))
    response.headers[FROM_HEADER] = told_from(content)
    size = content.size_bytes
    if size is None:
        return response
    response.headers["Accept-Ranges"] = "bytes"
    response.content_length = len(span) if span else size
    if span:
        response.headers["Content-Range"] = format_content_range(span, size)
    return response


async def _head(
    request: web.BaseRequest, headers: Mapping[str, str], span: Span | None, content: Content
) -> web.StreamResponse:
    response = _response(headers, span, content)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _send(request: web.BaseRequest, response: web.StreamResponse, stretch: Stretch) -> None:
    """Send a stretch.

    By copying it, not by sendfile: requesters are on this host, and an engine, which checks and
    unpacks on one core, would fetch every page from main memory itself. It needs a tenth less
    time with bytes that were just copied on another core (bench/pull.py, decision 0030).
    """
    async for data in stretch.bodies():
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the requester has gone")
        await response.write(data)
