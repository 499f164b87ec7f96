"""A host's session with its SuperNode: opened, kept, and opened again when it breaks."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from damselfly.clock import now_s
from damselfly.core.downloading.backoff import Backoff, pause_told
from damselfly.errors import RemoteProtocolError, SuperNodeUnreachableError
from damselfly.telemetry.log import get_log
from damselfly.transport.conversation import Conversation, client_socket
from damselfly.transport.reasons import why_it_failed
from damselfly.wire.session_messages import (
    PROTOCOL,
    Hello,
    HostMessage,
    SuperNodeMessage,
    Welcome,
    host_codec,
    supernode_codec,
)

BUSY: Final = 503
CONNECT_TIMEOUT_S: Final = 5.0
# Full jitter between 0 and these: 10,000 hosts of a restarted SuperNode spread over seconds.
RETRY_S: Final = 0.5
RETRY_S_MAX: Final = 5.0
BUSY_S_MAX: Final = 30.0  # then downloads go on without it, as if it were not there

log = get_log()


class SessionClient:
    """One session, for all tasks of a host.

    Attributes:
        address: `host:port` of the SuperNode.
        is_open: Messages go out; otherwise they are dropped, and said anew when it opens.
        error: Why it is not open; None at first.
    """

    def __init__(
        self,
        address: str,
        *,
        client: aiohttp.ClientSession,
        hello: Callable[[], Hello],
        on_open: Callable[[Welcome], None],
        on_message: Callable[[SuperNodeMessage], None],
        on_lost: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self.address = address
        self._client = client
        self._hello = hello
        self._on_open = on_open
        self._on_message = on_message
        self._on_lost = on_lost
        self._backoff = Backoff(RETRY_S, RETRY_S_MAX, rng)
        self._conversation: Conversation[SuperNodeMessage, HostMessage] | None = None
        self.is_open = False
        self.error: SuperNodeUnreachableError | None = None
        self._attempt = 0
        self._busy_since_s: float | None = None
        self._told_pause_s = 0.0
        self._rng = rng

    def post(self, message: HostMessage) -> None:
        """Send a message, if the session is open."""
        if self._conversation is not None and self.is_open:
            self._conversation.post(message)

    async def run(self) -> None:
        """Keep the session open until cancelled."""
        while True:
            try:
                reason = await self._run_once()
            except Exception as exc:  # a supervisor: the session is opened again
                log.exception("session_broke", supernode=self.address)
                reason = f"a bug of ours: {exc!r}"
            was_open, self.is_open = self.is_open, False
            self._conversation = None
            pause_s = self._take_pause_s()
            if pause_s and not was_open and self._has_patience():
                log.info("supernode_busy", supernode=self.address, retry_after_s=pause_s)
                await asyncio.sleep(pause_s)
                continue
            self.error = SuperNodeUnreachableError(address=self.address, reason=reason)
            if was_open or self._attempt == 0:
                log.warning("supernode_lost", supernode=self.address, reason=reason)
                self._on_lost()
            self._attempt = 1 if was_open else self._attempt + 1
            await asyncio.sleep(max(self._backoff.delay_s(self._attempt), pause_s))

    def _take_pause_s(self) -> float:
        """Return how long a busy SuperNode asked to be left alone just now, and some more."""
        told_s, self._told_pause_s = self._told_pause_s, 0.0
        return pause_told(told_s, self._rng)

    def _has_patience(self) -> bool:
        """Whether to wait for a busy SuperNode as for one that answers."""
        if self._busy_since_s is None:
            self._busy_since_s = now_s()
        return self._attempt == 0 and now_s() - self._busy_since_s < BUSY_S_MAX

    async def _run_once(self) -> str:
        """Open the session and talk until it ends; return why it ended."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await client_socket(self._client, f"http://{self.address}/v1/session")
        except TimeoutError:
            return f"no answer within {CONNECT_TIMEOUT_S:g} s"
        except aiohttp.WSServerHandshakeError as exc:
            if exc.status == BUSY:
                self._told_pause_s = _seconds(exc.headers)
                return "it is busy"
            return f"it is no SuperNode: it answered {exc.status}"
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            return why_it_failed(exc)
        conversation = Conversation(socket, reads=supernode_codec, writes=host_codec)
        self._conversation = conversation
        conversation.post(self._hello())
        try:
            await conversation.run(self._take_in)
        except RemoteProtocolError as exc:
            return str(exc)
        except (aiohttp.ClientError, OSError) as exc:
            return why_it_failed(exc)
        reason = getattr(socket, "close_code", None)
        return "it closed the session" + (f" (code {reason})" if reason else "")

    def _take_in(self, message: SuperNodeMessage) -> None:
        if self.is_open:
            self._on_message(message)
            return
        if not isinstance(message, Welcome):
            raise RemoteProtocolError("the first message of a SuperNode is welcome")
        if message.protocol != PROTOCOL:
            text = f"it speaks session protocol {message.protocol}, not {PROTOCOL}"
            raise RemoteProtocolError(text)
        self.is_open, self.error, self._busy_since_s = True, None, None
        log.info("session_opened", supernode=self.address, address=message.address)
        self._on_open(message)


def _seconds(headers: Mapping[str, str] | None) -> float:
    """Return what `Retry-After` says in seconds, at least 1; what it says otherwise is 1."""
    text = (headers or {}).get("Retry-After", "")
    return max(float(text), 1.0) if text.isascii() and text.isdecimal() else 1.0
