"""Requests passed on to their sources, both ways as they come.

Nothing is held in memory but what is on its way: a body is read no faster than the other
side takes it. Headers that belong to one connection stop here, all others pass as they are.
"""

from collections.abc import AsyncIterator
from typing import Final, NoReturn

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from damselfly.core.proxying.rules import Target
from damselfly.faces.proxy.answering import abort
from damselfly.faces.proxy.refusals import RefusedError
from damselfly.faces.proxy.tunnel import Tunnels, transport_of
from damselfly.services.options import SourceOptions
from damselfly.telemetry.log import get_log
from damselfly.transport.guarded import guarded_socket
from damselfly.transport.reasons import why_it_failed
from damselfly.transport.sources.http import HEAD_BYTES_MAX, tls_context

READ_BUFFER_BYTES: Final = 128 << 10  # for each answer on its way; thousands may be
SWITCHING: Final = 101
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_OF_ONE_CONNECTION: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

log = get_log()


def passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that concern both ends, in order and with repetitions."""
    named = {
        token.strip().lower()
        for value in headers.getall("Connection", ())
        for token in value.split(",")
    }
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in _OF_ONE_CONNECTION and name.lower() not in named:
            kept.add(name, value)
    return kept


class _PassedBack(web.StreamResponse):
    """An answer with the headers of its source, and none of ours."""

    async def _prepare_headers(self) -> None:
        given = {name for name in ("Content-Type", "Server") if name in self.headers}
        await super()._prepare_headers()
        for name in {"Content-Type", "Server"} - given:
            self.headers.popall(name, None)


class Upstream:
    """Asks sources what clients ask."""

    def __init__(
        self, source: SourceOptions, *, answer_timeout_s: float, via: str, tunnels: Tunnels
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=source.connect_timeout_s, sock_read=answer_timeout_s
        )
        self._tls = tls_context(source.ca_file)
        self._via = via
        self._tunnels = tunnels
        # {whether it may lead to what is this host's alone: connections}.
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def _session(self, *, is_trusted: bool) -> aiohttp.ClientSession:
        found = self._sessions.get(is_trusted)
        if found is None:
            found = self._sessions[is_trusted] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    ssl=self._tls,
                    resolver=aiohttp.ThreadedResolver(),
                    socket_factory=None if is_trusted else guarded_socket,
                ),
                timeout=self._timeout,
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEAD_BYTES_MAX,
                max_field_size=HEAD_BYTES_MAX,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_AUTOMATIC,
            )
        return found

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def ask(
        self, request: web.BaseRequest, target: Target, *, is_trusted: bool
    ) -> web.StreamResponse:
        """Pass a request on and its answer back.

        Raises:
            RefusedError: There is no answer; nothing has been sent.
        """
        headers = passed_on(request.headers)
        for name in ("Host", "Expect"):  # of the target; and we have answered it
            headers.popall(name, None)
        headers.add("Via", self._via)
        if "Upgrade" in request.headers:
            headers.extend({"Upgrade": request.headers["Upgrade"], "Connection": "Upgrade"})
        try:
            response = await self._session(is_trusted=is_trusted).request(
                request.method,
                URL(target.url, encoded=True),
                headers=headers,
                data=_body(request) if request.body_exists else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            _raise(target, exc)
        try:
            if response.status == SWITCHING:
                return await self._switch(request, response)
            return await self._pass_back(request, response, target)
        finally:
            response.close()

    async def _pass_back(
        self, request: web.BaseRequest, response: aiohttp.ClientResponse, target: Target
    ) -> web.StreamResponse:
        headers = passed_on(response.headers)
        headers.add("Via", self._via)
        answer = _PassedBack(status=response.status, reason=response.reason, headers=headers)
        try:
            await answer.prepare(request)
            while True:
                try:
                    part = await response.content.readany()
                except (aiohttp.ClientError, OSError) as exc:
                    log.warning("answer_aborted", url=_shown(target), reason=why_it_failed(exc))
                    abort(request)
                    return answer
                if not part:
                    break
                await answer.write(part)
            await answer.write_eof()
        except ConnectionError:
            pass  # the client has gone
        return answer

    async def _switch(
        self, request: web.BaseRequest, response: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Carry another protocol between the two, as bytes."""
        connection = response.connection
        assert connection is not None
        assert connection.transport is not None
        assert connection.protocol is not None
        lines = [f"HTTP/1.1 {SWITCHING} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        early = connection.protocol._tail  # noqa: SLF001  # what came with the head
        with self._tunnels.counted(transport_of(request)):
            return await self._tunnels.take_over(request, connection.transport, head + early)


def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    # An Application has said "continue" by itself, before it called us.
    is_waiting = not isinstance(request, web.Request) and "Expect" in request.headers
    return _parts(request, is_waiting=is_waiting)


async def _parts(request: web.BaseRequest, *, is_waiting: bool) -> AsyncIterator[bytes]:
    if is_waiting and request.transport is not None:
        request.transport.write(CONTINUE)
    async for part in request.content.iter_any():
        yield part


def _shown(target: Target) -> str:
    return f"{target.scheme}://{target.authority}{target.path}"


def _raise(target: Target, exc: Exception) -> NoReturn:
    """Raise what a client is told; its URL is known to it, and may hold secrets."""
    where = f"{target.scheme}://{target.authority}"
    match exc:
        case aiohttp.ClientConnectorError(os_error=PermissionError(errno=None)):
            text = f"{where} is an address that clients on other hosts may not reach through us"
            raise RefusedError(status=403, text=text) from exc
        case aiohttp.ServerTimeoutError() | TimeoutError():
            text = f"{where} did not answer in time; try again later"
            raise RefusedError(status=504, text=text) from exc
        case aiohttp.ClientResponseError():
            text = f"{where} sent an answer that is no HTTP"
            raise RefusedError(status=502, text=text) from exc
        case aiohttp.ClientConnectionError() | OSError():
            text = f"{where} cannot be reached: {why_it_failed(exc)}"
            raise RefusedError(status=502, text=text) from exc
        case _:
            text = f"{where} cannot be asked this: {exc}"
            raise RefusedError(status=400, text=text) from exc
