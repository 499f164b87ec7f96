"""Answers of a registry that are no content: errors in its form, and what another one said."""

import json
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web

from damselfly.errors import DamselflyError, RangeUnsatisfiableError, RegistryPathError
from damselfly.faces.proxy.answering import abort
from damselfly.telemetry.log import get_log
from damselfly.wire.registry_paths import Kind, RegistryPath

PASSED_BYTES: Final = 256 << 10

_CODES: Final = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS", 405: "UNSUPPORTED"}
_UNKNOWN: Final = {Kind.BLOB: "BLOB_UNKNOWN", Kind.MANIFEST: "MANIFEST_UNKNOWN"}
# They are about one connection (RFC 9110, 7.6.1), or said anew by our own server.
_NOT_PASSED: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "date", "server", "content-length"),
    }
)

log = get_log()


def refusal(error: DamselflyError, path: RegistryPath | None = None) -> web.Response:
    """Return an error as a registry tells it."""
    status = error.http_status
    if isinstance(error, RegistryPathError):
        code = error.code
    elif status == 404 and path is not None:  # noqa: PLR2004
        code = _UNKNOWN.get(path.kind, "NAME_UNKNOWN")
    else:
        code = _CODES.get(status, "UNKNOWN")
    response = web.Response(
        status=status,
        text=json.dumps({"errors": [{"code": code, "message": str(error)}]}),
        content_type="application/json",
    )
    for name, value in error.http_headers:
        response.headers.add(name, value)
    if isinstance(error, RangeUnsatisfiableError):
        response.headers["Content-Range"] = f"bytes */{error.size_bytes}"
    return response


async def pass_on(
    request: web.Request,
    told: aiohttp.ClientResponse,
    *,
    headers: Mapping[str, str],
    url: str,
) -> web.StreamResponse:
    """Answer with what another server answers, as it comes; `told` is closed at the end.

    Args:
        request: What is answered.
        told: The other server's answer, of which nothing has been read.
        headers: What goes instead of the other server's headers of the same names.
        url: For the log.
    """
    try:
        response = web.StreamResponse(status=told.status)
        for name, value in told.headers.items():
            if name.lower() not in _NOT_PASSED:
                response.headers.add(name, value)
        response.headers.update(headers)
        length = told.headers.get("Content-Length", "")
        if length.isdecimal():
            response.content_length = int(length)
        await response.prepare(request)
        if request.method != "HEAD":
            await _pass_body(request, told, response, url)
    finally:
        told.close()
    return response


async def _pass_body(
    request: web.Request, told: aiohttp.ClientResponse, response: web.StreamResponse, url: str
) -> None:
    chunks = told.content.iter_chunked(PASSED_BYTES)
    while True:
        try:
            chunk = await anext(chunks, b"")
        except (aiohttp.ClientError, OSError) as exc:
            log.warning("answer_aborted", url=url, reason=type(exc).__name__)
            abort(request)
            return
        if not chunk:
            break
        await response.write(chunk)
    await response.write_eof()
