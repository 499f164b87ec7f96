"""The SuperNode's end of the sessions: who may open one, and what comes in on it."""

import asyncio
from typing import Final, Protocol

import aiohttp
from aiohttp import web

from damselfly.core.peer import Host, HostId, is_host_id
from damselfly.core.preheating.targets import is_label
from damselfly.core.proxying.networks import is_loopback
from damselfly.core.topology import Location
from damselfly.errors import RemoteProtocolError, UsageError
from damselfly.telemetry.log import get_log
from damselfly.transport.conversation import Conversation, server_socket
from damselfly.wire import session_messages as wire

HELLO_TIMEOUT_S: Final = 10.0
MESSAGE_BYTES_MAX: Final = 2 << 20  # a hello with 10,000 holdings has 1.4 MB
UPLOAD_SLOTS_MAX: Final = 64
LABELS_MAX: Final = 64

Session = Conversation[wire.HostMessage, wire.SuperNodeMessage]

log = get_log()


class HostListener(Protocol):
    """Whoever wants to hear from hosts."""

    def session_pause_s(self, *, awaited: int) -> int:
        """Return 0 if a host may open a session, else after how many seconds it may.

        Args:
            awaited: How many have opened one and not said hello yet.
        """

    def on_host(self, host: Host, hello: wire.Hello, session: Session) -> None:
        """A host opened its session."""

    def on_message(self, host_id: HostId, message: wire.HostMessage) -> None:
        """A host told or asked something."""

    def on_session_end(self, host_id: HostId, session: Session) -> None:
        """A session ended."""


class HostSessions:
    """Accepts sessions."""

    def __init__(self, listener: HostListener) -> None:
        self._listener = listener
        self._awaited: set[Session] = set()  # their hello has not come yet

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /v1/session`."""
        if pause_s := self._listener.session_pause_s(awaited=len(self._awaited)):
            text = f"busy; come again in {pause_s} s\n"
            raise web.HTTPServiceUnavailable(text=text, headers={"Retry-After": str(pause_s)})
        socket = server_socket(message_bytes_max=MESSAGE_BYTES_MAX)
        await socket.prepare(request)
        session: Session = Conversation(socket, reads=wire.host_codec, writes=wire.supernode_codec)
        host: Host | None = None

        def on_message(message: wire.HostMessage) -> None:
            nonlocal host
            if host is not None:
                self._listener.on_message(host.host_id, message)
                return
            timer.cancel()
            self._awaited.discard(session)
            hello = _hello_of(message)
            host = _host_of(hello, request.remote or "")
            session.post(wire.Welcome(protocol=wire.PROTOCOL, address=host.address))
            self._listener.on_host(host, hello, session)

        self._awaited.add(session)
        timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, session.close)
        try:
            await session.run(on_message)
        except RemoteProtocolError as exc:
            log.warning("session_refused", host=host and host.host_id, reason=str(exc))
        except (ConnectionError, aiohttp.ClientError):
            pass
        finally:
            timer.cancel()
            self._awaited.discard(session)
            if host is not None:
                self._listener.on_session_end(host.host_id, session)
        return socket


def _hello_of(message: wire.HostMessage) -> wire.Hello:
    if not isinstance(message, wire.Hello):
        raise RemoteProtocolError("the first message of a host is hello")
    return message


def _host_of(message: wire.Hello, remote: str) -> Host:
    """Return the host that a hello describes.

    Raises:
        RemoteProtocolError: It is one that cannot be.
    """
    if message.protocol != wire.PROTOCOL:
        text = f"session protocol {message.protocol}; {wire.PROTOCOL} is spoken here"
        raise RemoteProtocolError(text)
    if not is_host_id(message.host_id):
        raise RemoteProtocolError("a host id that cannot be")
    if not 1 <= message.upload_slots <= UPLOAD_SLOTS_MAX:
        raise RemoteProtocolError(f"{message.upload_slots} upload slots")
    if len(message.labels) > LABELS_MAX or not all(is_label(each) for each in message.labels):
        raise RemoteProtocolError("labels that cannot be")
    try:
        location = Location.parse(message.location)
    except UsageError as exc:
        raise RemoteProtocolError(str(exc)) from exc
    return Host(
        host_id=HostId(message.host_id),
        address=_seen_address(message.address, remote),
        location=location,
        upload_slots=message.upload_slots,
        is_ephemeral=message.is_ephemeral,
        labels=message.labels,
        can_warm=message.can_warm,
    )


def _seen_address(told: str, remote: str) -> str:
    """Return a host's address; an empty host in it means the one that we see."""
    if not told:
        return ""
    host, _, port = told.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise RemoteProtocolError("a host address without a port")
    host = host or (f"[{remote}]" if ":" in remote else remote)
    return f"{host}:{port}"


def is_near(host: Host | None) -> bool:
    """Say whether a host is on this machine, so that no link has to be spared."""
    return host is not None and is_loopback(host.address.rpartition(":")[0].strip("[]"))
