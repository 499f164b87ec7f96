"""The HTTP proxy: what comes in absolute form, by CONNECT, or inside an opened CONNECT.

It stands before the mirror as a middleware: a request in origin form passes through to it,
and so does one in absolute form that names this daemon itself. All others are judged by the
rules and carried out; see `core/proxying/rules.py`.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, assert_never

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from damselfly.core.proxying.networks import address_of
from damselfly.core.proxying.rules import Action, Rules, Target, Verdict, why_not_shared
from damselfly.errors import DamselflyError
from damselfly.faces.proxy.access import Client, Gate, check_destination, client_of, is_own
from damselfly.faces.proxy.connect import Connects, resolved
from damselfly.faces.proxy.refusals import RefusedError, answer_of
from damselfly.faces.proxy.tunnel import Tunnels
from damselfly.faces.proxy.upstream import Upstream
from damselfly.services.options import ProxyOptions, SourceOptions
from damselfly.telemetry.log import get_log

if TYPE_CHECKING:
    from damselfly.services.own_ca import OwnCa

ALL_METHODS: Final = "*"  # the request target of OPTIONS that means the server itself

Share = Callable[[web.BaseRequest, Verdict], Awaitable[web.StreamResponse | None]]

log = get_log()


class ForwardProxy:
    """Judges requests and carries them out.

    Raises:
        SettingsError: It would be an open proxy.
    """

    def __init__(
        self,
        options: ProxyOptions,
        source: SourceOptions,
        *,
        secret: str,
        share: Share,
        load_ca: Callable[[], "OwnCa"],
        count: Callable[[str], None],
    ) -> None:
        self._gate = Gate(options, secret=secret)
        self._rules = Rules(options.rules, connect_ports=options.connect_ports)
        self._share = share
        self._count = count
        self._name = f"damselfly-{secrets.token_hex(8)}"  # of this process, to tell loops
        self._tunnels = Tunnels(
            tunnels_max=options.tunnels_max, idle_timeout_s=options.idle_timeout_s
        )
        self._upstream = Upstream(
            source,
            answer_timeout_s=options.answer_timeout_s,
            via=f"1.1 {self._name}",
            tunnels=self._tunnels,
        )
        self._connects = Connects(
            self._rules,
            tunnels=self._tunnels,
            load_ca=load_ca,
            connect_timeout_s=source.connect_timeout_s,
            serve=self._serve,
            count=count,
        )

    def end(self) -> None:
        """Close the tunnels, so that the server has nothing to wait for."""
        self._tunnels.end()

    async def close(self) -> None:
        """Close the connections to sources."""
        await self._upstream.close()

    def middleware(self) -> Middleware:
        """Return what takes the requests for a proxy, and hands on those for the mirror."""

        @web.middleware
        async def proxied(request: web.Request, handler: Handler) -> web.StreamResponse:
            client = client_of(request)
            try:
                if request.raw_path.startswith("/") or request.raw_path == ALL_METHODS:
                    return await self._mirror(request, handler, client)
                return await self._proxy(request, handler, client)
            except DamselflyError as exc:
                log.info("proxy_refused", client=client.address, why=str(exc))
                self._count("refused")
                return answer_of(exc)

        return proxied

    async def _mirror(
        self, request: web.Request, handler: Handler, client: Client
    ) -> web.StreamResponse:
        if not self._gate.may_mirror(client):
            text = f"clients at {client.address} may not use it; ask whoever sets `allow`"
            raise RefusedError(status=403, text=text)
        return await handler(request)

    async def _proxy(
        self, request: web.Request, handler: Handler, client: Client
    ) -> web.StreamResponse:
        if not self._gate.may_proxy(client):
            text = f"clients at {client.address} may not use it; ask whoever sets `allow`"
            raise RefusedError(status=403, text=text)
        if not self._gate.knows_secret(request):
            raise RefusedError(
                status=407,
                text="this proxy takes a user and a password",
                headers=(("Proxy-Authenticate", 'Basic realm="damselfly"'),),
            )
        if request.method == "CONNECT":
            self._check_loop(request)
            return await self._connects.carry_out(request, client)
        target = Target.parse(request.raw_path)
        if await _is_this_daemon(target, client):
            return await self._mirror(request, handler, client)
        return await self._serve(request, target, client)

    async def _serve(
        self, request: web.BaseRequest, target: Target, client: Client
    ) -> web.StreamResponse:
        """Answer a request for a URL.

        Raises:
            DamselflyError: It is not carried out.
        """
        self._check_loop(request)
        not_shared = why_not_shared(request.method, request.headers)
        verdict = self._rules.judge(target, not_shared=not_shared)
        asked = verdict.target
        # Where a rule leads, the operator leads.
        is_trusted = client.is_here or asked.host != target.host
        if not is_trusted and address_of(asked.host) is not None:
            check_destination(client, asked.host, asked.port, [asked.host])
        log.debug("judged", host=asked.host, action=verdict.action, why=verdict.reason)
        self._count(verdict.action)
        match verdict.action:
            case Action.P2P:
                shared = await self._share(request, verdict)
                if shared is not None:
                    return shared
                return await self._upstream.ask(request, asked, is_trusted=is_trusted)
            case Action.DIRECT | Action.REDIRECT:
                return await self._upstream.ask(request, asked, is_trusted=is_trusted)
            case _:
                assert_never(verdict.action)

    def _check_loop(self, request: web.BaseRequest) -> None:
        if any(self._name in value for value in request.headers.getall("Via", ())):
            text = "this request came through here before: that is a loop; check the proxy settings"
            raise RefusedError(status=508, text=text)


async def _is_this_daemon(target: Target, client: Client) -> bool:
    """Say whether a URL is of the port that it came to."""
    if target.port != client.port or target.scheme != "http":
        return False
    if address_of(target.host) is not None:
        return is_own(target.host)
    return any(is_own(str(each[4][0])) for each in await resolved(target.host, target.port))
