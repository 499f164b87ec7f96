"""The body of an answer, received straight into the buffers of its reader.

The HTTP library reads the head; a long body of known length needs no more parsing, so its
connection is taken over here. The library would copy each byte three times: into an object
per piece, into a whole, into the block. After the last byte it gets its connection back, for
the next request.
"""

import asyncio
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from damselfly.transport.wakeups import WakeUps

DIRECT_BYTES_MIN: Final = 256 << 10  # below it there is nothing to win


class DirectBody(asyncio.BufferedProtocol):
    """A body that comes in on a connection that was the library's.

    Args:
        transport: The connection.
        before: The library's protocol; it wants to know when the connection is gone.
        content: Where the library would have read the body.
        missing_bytes: What will come here of it.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        before: ResponseHandler,
        content: aiohttp.StreamReader,
        missing_bytes: int,
    ) -> None:
        self._transport = transport
        self._before = before
        self._content = content
        self._missing_bytes = missing_bytes
        self._wakeups = WakeUps(transport)
        self._target = memoryview(b"")
        self._filled = 0
        self._stray = memoryview(bytearray(1))
        self._has_strayed = False
        self._answer: asyncio.Future[None] | None = None
        self._end: Exception | None = None

    async def receive_into(self, buffer: memoryview, *, stall_s: float) -> None:
        """Fill a buffer.

        Raises:
            TimeoutError: Nothing came for `stall_s` to twice that.
            OSError: The connection ended before.
        """
        if self._end is not None:
            raise self._end
        self._target, self._filled = buffer, 0
        if self._has_strayed:
            buffer[:1], self._has_strayed, self._filled = self._stray, False, 1
        self._answer = answer = asyncio.get_running_loop().create_future()
        if self._filled < len(buffer):
            self._wakeups.wait_for(len(buffer) - self._filled)
            self._transport.resume_reading()
        else:
            answer.set_result(None)
        seen = 0
        try:
            while not (await asyncio.wait([answer], timeout=stall_s))[0]:
                came = self._filled + self._wakeups.pending_bytes()
                if came <= seen:
                    raise TimeoutError
                seen = came
            answer.result()
        finally:
            self._answer = None  # nobody would hear of its end any more
        self._missing_bytes -= len(buffer)
        if not self._missing_bytes:
            self._give_back()

    def _give_back(self) -> None:
        """Let the library keep the connection, unless more comes than the body has bytes."""
        if self._end is not None or self._wakeups.pending_bytes():
            return  # the reader's end closes it
        self._wakeups.wait_for(1)
        self._transport.set_protocol(self._before)
        self._before.resume_reading(resume_parser=False)  # of a body that it has not seen
        self._content.feed_eof()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the protocol's signature
        """Give the place where the next bytes belong.

        Nobody waits for any when the library went on reading: it does so for each late reader of
        an earlier answer on this connection. asyncio must have a place even so.
        """
        return self._target[self._filled :] or self._stray

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came."""
        if self._filled == len(self._target):
            self._has_strayed = True
            self._transport.pause_reading()
            return
        self._filled += nbytes
        missing = len(self._target) - self._filled
        if missing:
            self._wakeups.wait_for(missing)
            return
        self._transport.pause_reading()  # until there is a buffer again
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def eof_received(self) -> None:
        """End: a body has its length, so this is too early."""
        self._ended(ConnectionResetError("it closed midway"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and tell whose connection it was."""
        self._before.connection_lost(exc)
        self._ended(exc or ConnectionResetError("it closed midway"))

    def _ended(self, reason: Exception) -> None:
        self._end = self._end or reason
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(reason)


def take_over(
    response: aiohttp.ClientResponse, missing_bytes: int
) -> tuple[bytearray, DirectBody | None] | None:
    """Take the connection of an answer over, if that is worth it.

    Returns:
        What came of the body already, and the rest, if there is one; None: the library goes on
        reading.
    """
    connection = response.connection
    if connection is None or missing_bytes < DIRECT_BYTES_MIN:
        return None  # it is all here
    transport, before = connection.transport, connection.protocol
    if transport is None or before is None or transport.is_closing():
        return None
    came = bytearray()
    while more := response.content.read_nowait(-1):  # which may let the library read on
        came += more
    if response.connection is None:
        return came, None  # that was all
    before.pause_reading()  # its timeout rests as well
    body = DirectBody(transport, before, response.content, missing_bytes - len(came))
    transport.set_protocol(body)
    return came, body
