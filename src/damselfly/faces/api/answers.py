"""Answers of the API: JSON, and errors in one form."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from damselfly.errors import DamselflyError, RemoteProtocolError, StorageError
from damselfly.services.peering.web_server import BODY_BYTES_MAX
from damselfly.telemetry.log import get_log
from damselfly.wire.preheat_messages import ErrorTold

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = get_log()


def json_answer(value: object, *, status: int = 200) -> web.Response:
    """Return a value as JSON."""
    body = msgspec.json.encode(value) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")


def told(handler: Answer) -> Answer:
    """Return a handler whose errors become answers."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            text = f"the body is longer than {BODY_BYTES_MAX} bytes; nothing was done"
            return _error("RemoteProtocolError", text, 413)
        except DamselflyError as exc:
            log.info("api_refused", path=request.path, reason=str(exc))
            status = 507 if isinstance(exc, StorageError) else exc.http_status
            text = str(exc)
            if isinstance(exc, RemoteProtocolError):
                text = f"{exc}; nothing was done"
            return _error(type(exc).__name__, text, status)

    return handle


def _error(name: str, message: str, status: int) -> web.Response:
    response = json_answer(ErrorTold(error=name, message=message), status=status)
    if status == 401:  # noqa: PLR2004
        response.headers["WWW-Authenticate"] = 'Basic realm="damselfly"'
    return response
