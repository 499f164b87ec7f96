"""Typed messages over a WebSocket, both ways: what sessions and links are made of.

Posting never waits: a slow reader must not hold up the others. Its messages queue up to a
limit; beyond it the conversation is closed, and the other side connects anew and is told
everything that matters again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import aiohttp
from aiohttp import web

from damselfly.errors import RemoteProtocolError
from damselfly.wire.tagged import MESSAGE_BYTES_MAX, Codec

I = TypeVar("I")  # noqa: E741  # what comes in
O = TypeVar("O")  # noqa: E741  # what goes out

HEARTBEAT_S: Final = 5.0  # a host that was switched off is noticed within 1.5 of it
QUEUE_BYTES_MAX: Final = 32 << 20  # several block lists of the largest contents
CLOSE_TIMEOUT_S: Final = 1.0
FRAME_BYTES_MAX: Final = 32 << 10  # beyond it, one frame more costs next to nothing

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


def server_socket(*, message_bytes_max: int) -> web.WebSocketResponse:
    """Return a socket for a handler of ours, with our limits."""
    return web.WebSocketResponse(
        max_msg_size=message_bytes_max,
        heartbeat=HEARTBEAT_S,
        compress=False,
        timeout=CLOSE_TIMEOUT_S,
    )


async def client_socket(client: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """Open a socket to another part of ours, with our limits.

    Raises:
        aiohttp.ClientError: It cannot be reached, or does not speak WebSocket.
    """
    return await client.ws_connect(
        url,
        max_msg_size=MESSAGE_BYTES_MAX,
        heartbeat=HEARTBEAT_S,
        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
    )


class Conversation(Generic[I, O]):
    """One open WebSocket."""

    def __init__(self, socket: Socket, *, reads: Codec[I], writes: Codec[O]) -> None:
        self._socket = socket
        self._reads = reads
        self._writes = writes
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._has_news = asyncio.Event()
        self._is_closing = False

    def post(self, message: O) -> None:
        """Send a message when the socket takes it; after the end nothing happens."""
        if self._is_closing:
            return
        self.post_encoded(self._writes.encode(message))

    def post_encoded(self, data: bytes) -> None:
        """Send a message that is encoded already, as one that goes to many is."""
        if self._is_closing:
            return
        self._queue_bytes += len(data)
        self._queue.append(data)
        if self._queue_bytes > QUEUE_BYTES_MAX:
            self.close()
        self._has_news.set()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is sent."""
        return self._is_closing

    def close(self) -> None:
        """End the conversation soon; what is queued is dropped."""
        self._is_closing = True
        self._has_news.set()

    async def run(self, on_message: Callable[[I], None]) -> None:
        """Talk until either side closes; `on_message` gets what comes in, in order.

        Raises:
            RemoteProtocolError: The other side sent what is no message; the socket is closed.
        """
        broken: RemoteProtocolError | None = None
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write())
            try:
                await self._read(on_message)
            except RemoteProtocolError as exc:
                broken = exc
            except asyncio.CancelledError:
                await self._socket.close()  # it takes CLOSE_TIMEOUT_S at most
                raise
            finally:
                self._is_closing = True
                writer.cancel()
        if broken is not None:
            code, reason = aiohttp.WSCloseCode.PROTOCOL_ERROR, str(broken).encode()[:120]
            await self._socket.close(code=code, message=reason)
            raise broken
        await self._socket.close()

    async def _read(self, on_message: Callable[[I], None]) -> None:
        async for frame in self._socket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                for message in self._reads.decode_all(frame.data):
                    on_message(message)
            elif frame.type is aiohttp.WSMsgType.TEXT:
                raise RemoteProtocolError("a text message; they are binary here")
            else:
                return  # the connection broke

    async def _write(self) -> None:
        try:
            while not self._is_closing:
                await self._has_news.wait()
                self._has_news.clear()
                while self._queue and not self._is_closing:
                    await self._socket.send_bytes(self._take_frame())
        except (ConnectionError, aiohttp.ClientError):
            return  # the reader sees the end, too
        await self._socket.close()

    def _take_frame(self) -> bytes:
        """Take from the queue what fits into one frame: most of what was posted at a time."""
        taken = [self._queue.popleft()]
        size = len(taken[0])
        while self._queue and size + len(self._queue[0]) <= FRAME_BYTES_MAX:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        self._queue_bytes -= size
        return taken[0] if len(taken) == 1 else self._writes.together(taken)
