"""The first bytes of a source's answer, looked at before the rest is read."""

import asyncio
from typing import Self

from damselfly.errors import SourceError
from damselfly.services.compressing.compressor import HEAD_BYTES, Compressor
from damselfly.transport.provider import SourceReading


class PeekedReading:
    """A reading of which the first bytes were taken out, and are given again; see `SourceReading`.

    Attributes:
        answer: The head of the source's answer.
        head: The first bytes.
        failure: What the reading ended with while they were taken out.
    """

    def __init__(
        self, reading: SourceReading, head: bytes, *, failure: SourceError | None = None
    ) -> None:
        self._reading = reading
        self._failure = failure
        self.answer = reading.answer
        self.head = head
        self._left = memoryview(head)

    async def __aenter__(self) -> Self:
        """Give the reading itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the one beneath."""
        await self._reading.__aexit__(*exc_info)

    async def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what comes next."""
        if self._failure is not None:
            raise self._failure  # where it would have come without a look
        count = min(len(self._left), len(buffer))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        if count == len(buffer):
            return count
        return count + await self._reading.read_into(buffer[count:])


async def look_into(
    reading: SourceReading, compressor: Compressor | None, *, is_near: bool
) -> tuple[SourceReading, bool]:
    """Choose the layout of a new edition by its first bytes.

    Args:
        reading: An answer of the source, of which nothing was read yet.
        compressor: Judges them; without one all editions are plain.
        is_near: Whoever asks is on this machine.

    Returns:
        A reading of all, and whether the edition is packed. A reading that fails while it is
        looked into fails again when it is read, for whoever tries once more then.
    """
    size = reading.answer.size_bytes
    is_short = size is not None and size <= HEAD_BYTES
    if compressor is None or is_short or not compressor.may_pack(is_near=is_near):
        return reading, False
    head = bytearray(HEAD_BYTES)
    try:
        filled = await reading.read_into(memoryview(head))
    except SourceError as exc:
        return PeekedReading(reading, b"", failure=exc), False
    peeked = PeekedReading(reading, bytes(head[:filled]))
    return peeked, await asyncio.to_thread(compressor.starts_packed, peeked.head)
