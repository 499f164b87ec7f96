"""Readings of sources that give their bytes in pieces of their own size."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import BinaryIO, Final, Self, TypeVar

from damselfly.core.task import Validators
from damselfly.errors import (
    DamselflyError,
    SourceBrokenError,
    SourceChangedError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.provider import SourceAnswer, SourceReading

PIECE_BYTES: Final = 1 << 20
PARTIAL, NOT_SATISFIABLE = 206, 416

T = TypeVar("T")

Close = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    pass


class ChunkReading:
    """An open answer whose body comes as pieces; see `provider.SourceReading`."""

    def __init__(
        self,
        answer: SourceAnswer,
        pieces: AsyncIterator[bytes | memoryview],
        *,
        url: str,
        stall_s: float,
        why: Callable[[Exception], DamselflyError] | None = None,
        close: Close = _nothing,
    ) -> None:
        self.answer = answer
        self._pieces = pieces
        self._url = url
        self._stall_s = stall_s
        self._why = why
        self._close = close
        self._left = memoryview(b"")
        self._received = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()
        await self._close()

    async def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what comes next; see `provider.SourceReading`."""
        answer = self.answer
        expected = None if answer.stop_byte is None else answer.stop_byte - answer.start_byte
        wanted = buffer if expected is None else buffer[: expected - self._received]
        filled = 0
        while filled < len(wanted):
            if not self._left and not await self._has_next():
                break
            count = min(len(self._left), len(wanted) - filled)
            wanted[filled : filled + count] = self._left[:count]
            self._left = self._left[count:]
            filled += count
        self._received += filled
        if filled < len(wanted) and expected is not None:
            reason = f"it ended after {self._received} of {expected} bytes"
            raise SourceUnreachableError(url=self._url, reason=reason)
        if self._received == expected and (self._left or await self._has_next()):
            raise SourceBrokenError(url=self._url, reason=f"more than {expected} bytes")
        return filled

    async def _has_next(self) -> bool:
        """Get the next piece that is not empty; False: there is none."""
        while not self._left:
            try:
                async with asyncio.timeout(self._stall_s):
                    self._left = memoryview(await anext(self._pieces))
            except StopAsyncIteration:
                return False
            except TimeoutError as exc:
                reason = f"it sent nothing for {self._stall_s:g} s"
                raise SourceUnreachableError(url=self._url, reason=reason) from exc
            except DamselflyError:
                raise
            except Exception as exc:  # whatever a library fails with
                if self._why is None:
                    raise
                raise self._why(exc) from exc
        return True


def answer_for(
    told: SourceAnswer, *, start_byte: int, stop_byte: int | None, validators: Validators, url: str
) -> SourceAnswer:
    """Return the head for what was asked for, of a source that can give any part.

    Args:
        told: The head for all of it.
        start_byte: The first byte, as in `provider.Source.read`.
        stop_byte: One past the last, or None for the end.
        validators: The version of which a part is wanted.
        url: Of the source, as it may be shown.

    Raises:
        SourceRefusedError: The part begins beyond the end.
    """
    is_part = start_byte > 0 or stop_byte is not None
    if not is_part or validators not in (Validators(), told.validators):
        return told
    size = told.size_bytes
    assert size is not None
    if start_byte >= size:
        raise SourceRefusedError(url=url, status=NOT_SATISFIABLE)
    stop = min(stop_byte or size, size)
    return replace(told, status=PARTIAL, start_byte=start_byte, stop_byte=stop)


async def in_turn(turn: asyncio.Lock, work: Callable[[], T]) -> T:
    """Do in a thread what only one may do at a time.

    Whoever is cancelled goes away at once; the turn ends when the thread has.
    """

    def end(done: asyncio.Future[T]) -> None:
        turn.release()
        if not done.cancelled():
            done.exception()  # of one that was cancelled nobody else looks at it

    await turn.acquire()
    working = asyncio.ensure_future(asyncio.to_thread(work))
    working.add_done_callback(end)
    return await asyncio.shield(working)


async def pieces_of(
    file: BinaryIO, start_byte: int, stop_byte: int, *, turn: asyncio.Lock | None = None
) -> AsyncGenerator[bytes]:
    """Yield a part of a file, read in threads, which may wait.

    Args:
        file: Where from.
        start_byte: The first byte.
        stop_byte: One past the last.
        turn: Of all who read over the same connection.
    """
    turn = turn or asyncio.Lock()
    await in_turn(turn, partial(file.seek, start_byte))
    left = stop_byte - start_byte
    while left > 0:
        piece = await in_turn(turn, partial(file.read, min(left, PIECE_BYTES)))
        if not piece:
            break
        left -= len(piece)
        yield piece


async def of_one_version(
    pieces: AsyncGenerator[bytes],
    told: SourceAnswer,
    ask: Callable[[], Awaitable[SourceAnswer]],
    *,
    url: str,
) -> AsyncIterator[bytes]:
    """Yield pieces of a file, and look after the last of them whether it is still the same.

    Args:
        pieces: Its bytes.
        told: The head that was given for them.
        ask: Gives the head that it has now.
        url: Of the source, as it may be shown.

    Raises:
        SourceChangedError: It is another one, and so may be some of its bytes.
    """
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece
    now = await ask()
    if now.validators != told.validators:
        promised, came = told.validators.etag, now.validators.etag
        raise SourceChangedError(url=url, promised=promised, came=came)


async def one_piece(data: bytes | memoryview) -> AsyncIterator[bytes | memoryview]:
    """Yield what is all there."""
    yield data


async def read_whole(reading: SourceReading, *, bytes_max: int, url: str) -> bytes:
    """Return the body of an open answer, which is short.

    Raises:
        SourceBrokenError: It is longer than it may be.
    """
    body, part = bytearray(), bytearray(min(bytes_max + 1, PIECE_BYTES))
    while count := await reading.read_into(memoryview(part)):
        body += part[:count]
        if len(body) > bytes_max:
            raise SourceBrokenError(url=url, reason=f"more than {bytes_max} bytes")
    return bytes(body)
