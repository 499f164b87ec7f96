"""From a source's answer into the store: cut into blocks, hashed, written, told.

Blocks are stored in threads while the next one comes in. Blocks that are held already are
passed over, so a source that can only give the whole again still resumes a download.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn, Protocol

import blake3

from damselfly.core.task import Edition
from damselfly.errors import SourceBrokenError, SourceChangedError
from damselfly.services.compressing.compressor import Compressor
from damselfly.services.seeding.storing import store_block
from damselfly.storage.store import StoredEdition
from damselfly.transport.fresh_memory import fresh_memory
from damselfly.transport.provider import SourceReading


class Limit(Protocol):
    """Says when bytes may be read; see `Throttle`."""

    async def take(self, count: int) -> None:
        """Take so many bytes, and wait until they may be read."""


BlockHandler = Callable[[int, bytes], None]
"""Called with the index and the BLAKE3 digest of each block that was stored."""

BLOCKS_AHEAD_MAX: Final = 2  # one is being written, one hashed; more only holds memory
AHEAD_BYTES_MAX: Final = 256 << 20  # ... but of one content over several connections
PART_BYTES: Final = 1 << 20  # between two looks at a rate limit; stays in a processor's cache


class Buffers:
    """Memory for the blocks of one content on their way, of as many readings as it has.

    A buffer whose block is stored is filled again: fresh memory costs more than the bytes that
    fill it.
    """

    def __init__(self, block_bytes: int, *, readings_max: int = 1, workers: int = 1) -> None:
        self._block_bytes = block_bytes
        self._spare: list[memoryview] = []
        # Each reading fills one. Those of several fill up together and go on while the blocks
        # before are stored: a connection that pauses loses what it may have of its source.
        ahead = min(readings_max - 1, AHEAD_BYTES_MAX // block_bytes)
        self._free = asyncio.Semaphore(readings_max - 1 + ahead + workers + BLOCKS_AHEAD_MAX)

    async def take(self) -> memoryview:
        """Take one, or wait for it."""
        await self._free.acquire()
        return self._spare.pop() if self._spare else fresh_memory(self._block_bytes)

    def give_back(self, buffer: memoryview) -> None:
        """Let others fill it."""
        self._spare.append(buffer)
        self._free.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What becomes of the blocks of a reading.

    Attributes:
        on_block: Told of each that was stored.
        expected: Returns the digest that a block must have, None when it is not known.
        hash_soon: Takes the bytes of each that was stored, and what to call when it needs them no
            more; says whether it needs them. See `WholeHasher`.
        compressor: Compresses those of a packed edition.
    """

    on_block: BlockHandler
    expected: Callable[[int], bytes | None] = lambda _: None
    hash_soon: Callable[[int, memoryview, Callable[[], None]], bool] = lambda *_: False
    compressor: Compressor | None = None

    def workers(self, edition: Edition) -> int:
        """Return how many of its blocks are stored at a time."""
        return self.compressor.threads if self.compressor and edition.is_packed else 1


@dataclass(frozen=True, slots=True)
class _Ready:
    """A block that was read: its buffer is filled up to `body_bytes`."""

    block_index: int
    buffer: memoryview
    body_bytes: int


class BlockReader:
    """Reads one answer of a source into an entry of the store.

    Attributes:
        position: Byte of the content that comes next.
    """

    def __init__(
        self,
        entry: StoredEdition,
        *,
        url: str,
        throttle: Limit,
        intake: Intake,
        buffers: Buffers | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        stop_at: Callable[[], int | None] = lambda: None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._stop_at = stop_at
        self._part_bytes = part_bytes
        self._entry = entry
        self._url = url
        self._throttle = throttle
        self._intake = intake
        self._on_bytes = on_bytes
        self._block_bytes = entry.edition.block_bytes
        self.position = 0
        # Compressing takes longer than a block takes to come; other blocks are stored meanwhile.
        self._compressor = intake.compressor if entry.edition.is_packed else None
        self._workers = intake.workers(entry.edition)
        self._buffers = buffers or Buffers(self._block_bytes, workers=self._workers)
        self._ready: asyncio.Queue[_Ready | None] = asyncio.Queue()  # ... as many as buffers
        self._has_told = asyncio.Event()  # of a block

    async def read(self, reading: SourceReading) -> None:
        """Read the answer to its end.

        When it breaks midway, what was whole until then is stored before the error goes on.

        Raises:
            SourceUnreachableError: It broke midway.
            SourceBrokenError: It is longer or shorter than promised.
            SourceChangedError: A block is not the one that was known.
            StorageFullError: There is no room.
        """
        self.position = reading.answer.start_byte
        assert self.position % self._block_bytes == 0
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._workers):
                    tasks.create_task(self._store_all())
                try:
                    await self._cut(reading)
                except Exception as exc:  # noqa: BLE001  # raised again below, when all is stored
                    failure = exc
                for _ in range(self._workers):
                    self._ready.put_nowait(None)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        if failure is not None:
            raise failure

    async def _cut(self, reading: SourceReading) -> None:
        size, stop = self._entry.edition.size_bytes, reading.answer.stop_byte
        while stop is None or self.position < (self._stop_at() or stop):
            wanted = self._block_bytes
            if stop is not None:
                wanted = min(wanted, stop - self.position)
            buffer, filled = await self._buffers.take(), 0
            try:
                filled = await self._fill(reading, buffer[:wanted])
                if size is None and filled < self._block_bytes:
                    # Before the last block is stored, which may be a short one.
                    self._entry.set_size(self.position + filled)
                if filled:
                    self._hand_over(buffer, filled)
            except BaseException:
                self._buffers.give_back(buffer)
                raise
            if 0 < filled == self.position and not self._compressor:
                # Who wants a content waits for its first block: what follows takes no CPU from it,
                # and comes into the kernel meanwhile.
                await self._has_told.wait()
            if filled < wanted:
                break
        if size is None:
            self._entry.set_size(self.position)
        elif stop is None and self.position != size:
            reason = f"{self.position} bytes instead of {size}"
            raise SourceBrokenError(url=self._url, reason=reason)

    async def _fill(self, reading: SourceReading, block: memoryview) -> int:
        filled = 0
        while filled < len(block):
            part = block[filled : filled + self._part_bytes]
            count = await reading.read_into(part)
            self._on_bytes(count)
            await self._throttle.take(count)
            filled += count
            if count < len(part):
                break
        return filled

    def _hand_over(self, buffer: memoryview, filled: int) -> None:
        size = self._entry.edition.size_bytes
        if size is not None and self.position + filled > size:
            reason = f"more than the {size} bytes that it promised"
            raise SourceBrokenError(url=self._url, reason=reason)
        block_index = self.position // self._block_bytes
        self.position += filled
        self._ready.put_nowait(_Ready(block_index, buffer, filled))

    async def _store_all(self) -> None:
        while (ready := await self._ready.get()) is not None:
            with self._compressor.queued() if self._compressor else nullcontext():
                await self._store(ready)

    async def _store(self, ready: _Ready) -> None:
        block_index, body = ready.block_index, ready.buffer[: ready.body_bytes]
        is_held = self._entry.digest_of(block_index) is not None
        stored = await asyncio.to_thread(self._take_in, block_index, body)
        if stored is None:
            self._raise_changed(block_index)
        give_back = partial(self._buffers.give_back, ready.buffer)
        is_kept = self._intake.hash_soon(block_index, body, give_back)
        if not is_held:
            self._intake.on_block(block_index, stored)
        self._has_told.set()
        if not is_kept:
            give_back()

    def _take_in(self, block_index: int, body: memoryview) -> bytes | None:
        """Store a block, or compare it with the one that is held; None: it is another one."""
        known = self._entry.digest_of(block_index)
        if known is not None:
            return known if blake3.blake3(body).digest() == known else None
        expected = self._intake.expected(block_index)
        return store_block(self._entry, block_index, body, expected, compressor=self._compressor)

    def _raise_changed(self, block_index: int) -> NoReturn:
        raise SourceChangedError(
            url=self._url, promised=f"block {block_index} of the edition", came="other bytes"
        )
