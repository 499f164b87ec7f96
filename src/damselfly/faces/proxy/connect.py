"""CONNECT: tunnelled untouched, or opened when a rule names the host.

In an opened one the client talks TLS with us, by a certificate of our own CA, and what it
asks is judged by the rules like any other request; the source is asked by TLS of its own,
and its certificate is verified as everywhere.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs
from aiohttp import web

from damselfly.core.proxying.networks import address_of
from damselfly.core.proxying.rules import Rules, Target, Way
from damselfly.errors import DamselflyError
from damselfly.faces.proxy.access import Client, check_destination
from damselfly.faces.proxy.refusals import RefusedError, answer_of
from damselfly.faces.proxy.tunnel import Tunnels, early_of, give_back, transport_of
from damselfly.services.peering.web_server import (
    HEAD_BYTES_MAX,
    KEEPALIVE_S,
    server_logger,
    take_any_host,
)
from damselfly.telemetry.log import get_log
from damselfly.transport.reasons import why_it_failed

if TYPE_CHECKING:
    from damselfly.services.own_ca import OwnCa

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
HANDSHAKE_S: Final = 15.0
SECOND_ADDRESS_S: Final = 0.25  # RFC 8305: the next address is tried meanwhile

_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z._-]{1,253})):(\d{1,5})")

Serve = Callable[[web.BaseRequest, Target, Client], Awaitable[web.StreamResponse]]

log = get_log()


async def resolved(host: str, port: int) -> Sequence[aiohappyeyeballs.AddrInfoType]:
    """Return the addresses of a host.

    Raises:
        RefusedError: Its name is not known.
    """
    loop = asyncio.get_running_loop()
    try:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        text = f"{host}:{port} cannot be reached: its name is not known"
        raise RefusedError(status=502, text=text) from exc


class _OneConnection(web.Server):
    """A server for a connection that is there already."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            logger=server_logger(),
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )
        take_any_host(self)
        self.has_ended = asyncio.Event()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:  # noqa: ANN401
        super().connection_lost(handler, exc)
        self.has_ended.set()


class Connects:
    """Carries out CONNECT."""

    def __init__(
        self,
        rules: Rules,
        *,
        tunnels: Tunnels,
        load_ca: Callable[[], "OwnCa"],
        connect_timeout_s: float,
        serve: Serve,
        count: Callable[[str], None],
    ) -> None:
        self._rules = rules
        self._tunnels = tunnels
        self._load_ca = load_ca
        self._connect_timeout_s = connect_timeout_s
        self._serve = serve
        self._count = count
        self._ca: OwnCa | None = None

    async def carry_out(self, request: web.BaseRequest, client: Client) -> web.StreamResponse:
        """Answer a CONNECT, and stay until its connection ends.

        Raises:
            RefusedError: It leads nowhere.
        """
        host, port = _authority(request.raw_path)
        check_destination(client, host, port, await _addresses_known(client, host, port))
        opening = self._rules.opening(host, port)
        if opening.way is Way.REFUSED:
            raise RefusedError(status=403, text=opening.reason)
        with self._tunnels.counted(transport_of(request)):
            log.debug("connect", host=host, port=port, why=opening.reason)
            self._count(opening.way)
            if opening.way is Way.OPENED:
                return await self._open(
                    request, Target(scheme="https", host=host, port=port), client
                )
            upstream = await self._connected(client, host, port)
            return await self._tunnels.take_over(request, upstream, ESTABLISHED)

    async def _connected(self, client: Client, host: str, port: int) -> asyncio.Transport:
        addresses = await resolved(host, port)
        check_destination(client, host, port, (str(each[4][0]) for each in addresses))
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                sock = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=SECOND_ADDRESS_S
                )
        except TimeoutError as exc:
            text = f"{host}:{port} did not answer in time; try again later"
            raise RefusedError(status=504, text=text) from exc
        except OSError as exc:
            text = f"{host}:{port} cannot be reached: {why_it_failed(exc)}"
            raise RefusedError(status=502, text=text) from exc
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        transport.pause_reading()
        return transport

    async def _open(
        self, request: web.BaseRequest, site: Target, client: Client
    ) -> web.StreamResponse:
        outer = transport_of(request)
        if early_of(request):
            raise RefusedError(status=400, text="wait for the answer to CONNECT, then begin TLS")
        if self._ca is None:
            self._ca = self._load_ca()
        context = self._ca.context_for(site.host.rstrip("."))

        async def inside(inner: web.BaseRequest) -> web.StreamResponse:
            try:
                return await self._serve(inner, _target(inner, site.authority), client)
            except DamselflyError as exc:
                log.info("proxy_refused", client=client.address, why=str(exc))
                self._count("refused")
                return answer_of(exc)

        server = _OneConnection(inside)
        protocol = server()
        outer.write(ESTABLISHED)
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                outer, protocol, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
            if transport is not None:
                protocol.connection_made(transport)
                await server.has_ended.wait()
        except OSError as exc:  # ssl.SSLError is one
            reason = getattr(exc, "reason", None) or type(exc).__name__
            log.info("client_refused_our_certificate", host=site.host, reason=reason)
        finally:
            outer.abort()
            give_back(request)
        return web.Response()


async def _addresses_known(client: Client, host: str, port: int) -> list[str]:
    """Return the addresses of a host that may be this proxy; of others, what its name says."""
    if address_of(host) is not None:
        return [host]
    if port != client.port:
        return []
    return [str(each[4][0]) for each in await resolved(host, port)]


def _authority(text: str) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(text)
    if not match or not 1 <= int(match[3]) <= 65535:  # noqa: PLR2004
        raise RefusedError(status=400, text="CONNECT must name host:port, such as a.example:443")
    return (match[1] or match[2]).lower(), int(match[3])


def _target(request: web.BaseRequest, authority: str) -> Target:
    """Return what is asked for inside an opened CONNECT, which is for one host."""
    path = request.raw_path
    url = path if path.lower().startswith("https://") else f"https://{authority}{path}"
    target = Target.parse(url)
    named = Target.parse(f"https://{request.headers.get('Host', authority)}/")
    if target.authority != authority or named.host != target.host:
        text = f"this connection is for {authority}; open another one for another host"
        raise RefusedError(status=421, text=text)
    return target
