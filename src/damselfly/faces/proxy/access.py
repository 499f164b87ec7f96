"""Who may use the daemon's port, and where the proxy may lead them.

The port is no open proxy. By itself it listens on loopback, and who can reach that could go
to the network without us. Elsewhere it serves the networks that are allowed, or who knows
the secret. The mirror asks for no secret, since no engine would send one.

A client on another host must not get at what only this host can reach: its loopback
addresses and the link-local ones, where clouds tell a machine's secrets. For clients of this
host no address is closed but the port itself, which would be a loop.
"""

import base64
import binascii
import hmac
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from damselfly.core.proxying.networks import Networks, is_for_host_alone, is_loopback
from damselfly.errors import SettingsError
from damselfly.faces.proxy.refusals import RefusedError
from damselfly.services.options import ProxyOptions


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks.

    Attributes:
        address: Where from.
        is_here: It runs on this host.
        port: The port of ours on which it came.
    """

    address: str
    is_here: bool
    port: int


def client_of(request: web.BaseRequest) -> Client:
    """Return who sent a request."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("peername") or ("", 0)
    own = request.transport.get_extra_info("sockname") or ("", 0)
    return Client(address=peer[0], is_here=is_loopback(peer[0]), port=own[1])


class Gate:
    """Decides who may in.

    Raises:
        SettingsError: It would be an open proxy.
    """

    def __init__(self, options: ProxyOptions, *, secret: str = "") -> None:
        host = options.listen.rpartition(":")[0].strip("[]")
        if not (is_loopback(host) or host == "localhost" or options.allow or secret):
            expected = (
                f"{options.listen} is not on loopback, and everybody could use it; set `allow` "
                "to the networks that may, or a secret by `auth_file`"
            )
            raise SettingsError(where="daemon", key="proxy.listen", expected=expected)
        if secret and ":" not in secret:
            raise SettingsError(
                where="daemon", key="proxy.auth_file", expected="it must be user:password"
            )
        self._networks = Networks.parse(options.allow)
        self._allows_any = not options.allow and bool(secret)
        self._secret = secret.encode()

    def may_mirror(self, client: Client) -> bool:
        """Say whether a client may use the mirror."""
        return client.is_here or client.address in self._networks

    def may_proxy(self, client: Client) -> bool:
        """Say whether a client may use the proxy, if it also knows the secret."""
        return self._allows_any or self.may_mirror(client)

    def knows_secret(self, request: web.BaseRequest) -> bool:
        """Say whether a request has the secret, or needs none."""
        if not self._secret:
            return True
        kind, _, text = request.headers.get("Proxy-Authorization", "").partition(" ")
        try:
            told = base64.b64decode(text.strip(), validate=True)
        except (ValueError, binascii.Error):
            told = b""
        return kind.lower() == "basic" and hmac.compare_digest(told, self._secret)


def check_destination(client: Client, host: str, port: int, addresses: Iterable[str]) -> None:
    """Check that a client may be led to the addresses of a host.

    Raises:
        RefusedError: It may not.
    """
    for address in addresses:
        if not client.is_here and is_for_host_alone(address):
            where = host if host == address else f"{host} ({address})"
            text = f"{where} is an address that clients on other hosts may not reach through us"
            raise RefusedError(status=403, text=text)
        if port == client.port and is_own(address):
            text = f"{host}:{port} is this proxy itself: that would be a loop"
            raise RefusedError(status=508, text=text)


def is_own(address: str) -> bool:
    """Say whether an address is one of this host."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
