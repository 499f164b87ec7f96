"""The digest of a whole content, taken while its blocks come in.

The bytes must be hashed in the order of the file. A block whose turn it is when it was stored is
hashed in the thread that stored it, where it lies in memory. Several blocks are under way at a
time, so a few come early: those stay in memory until their turn, which is soon, and whoever
hashes the one before goes on with them. What comes much too early is read again in its turn.
"""

import asyncio
import threading
from typing import Final

from damselfly.core.blocks import BlockLayout, Span
from damselfly.core.digest import Digest
from damselfly.services.seeding.hashing import new_hasher
from damselfly.services.seeding.reading import PART_BYTES
from damselfly.storage.store import StoredEdition

EARLY_BLOCKS_MAX: Final = 8  # as many as a host has under way at a time, and no more


class WholeHasher:
    """Hashes the whole while its blocks come in, as far as they are there from the start on.

    Attributes:
        finished: The end of `run`, for whoever started it.
    """

    def __init__(self, entry: StoredEdition, algorithm: str, *, checksum: str = "") -> None:
        self._entry = entry
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)
        name, _, self._checksum = checksum.partition(":")
        self._checking = new_hasher(name) if name else None
        self._turn = threading.Lock()  # held by the thread that hashes
        self._next_index = 0  # changed by that thread alone
        # {block: its bytes, which stay what they are}, that wait for their turn.
        self._early: dict[int, memoryview] = {}
        self._news = asyncio.Event()
        self._is_ending = False
        self.finished: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """There may be more blocks."""
        self._news.set()

    def end(self) -> None:
        """There will be no more blocks than there are now; `run` returns when it has them."""
        self._is_ending = True
        self._news.set()

    async def run(self) -> None:
        """Follow the blocks until `end`."""
        while True:
            await self._news.wait()
            self._news.clear()
            is_ending = self._is_ending
            while self._is_next_held() and (is_ending or not self._turn.locked()):
                await asyncio.to_thread(self._hash_next)
            if is_ending:
                return

    def hash_along(self, block_index: int, body: memoryview) -> None:
        """Hash a block that was just stored, if it is its turn; may be called in any thread."""
        if block_index > self._next_index + 1:
            return  # what is before it is not even coming
        with self._turn:
            if block_index == self._next_index:
                self._take(body)

    def hash_or_keep(self, block_index: int, body: memoryview) -> bool:
        """Hash a block that was just stored, now or soon; may be called in any thread.

        Returns:
            Whether its bytes must stay what they are until `is_past` or `forget` says otherwise.
        """
        if not self._next_index <= block_index <= self._next_index + EARLY_BLOCKS_MAX:
            return False
        self._early[block_index] = body
        # Whoever has the turn may have looked for this block just before it came.
        while self._next_index in self._early and self._turn.acquire(blocking=False):
            try:
                self._take_early()
            finally:
                self._turn.release()
        return not self.is_past(block_index)

    def is_past(self, block_index: int) -> bool:
        """Tell whether a block has been hashed."""
        return block_index < self._next_index

    def forget(self, block_index: int) -> bool:
        """Wait no more with the bytes of an early block; False: they are being hashed just now."""
        is_waiting = self._early.pop(block_index, None) is not None
        return is_waiting or self.is_past(block_index)

    def _is_next_held(self) -> bool:
        return self._entry.digest_of(self._next_index) is not None

    def _hash_next(self) -> None:
        """Hash the next block, if it is there."""
        entry = self._entry
        with self._turn:
            if self._take_early() or not self._is_next_held():
                return  # it was hashed in the meantime
            size = entry.edition.size_bytes
            stop = (self._next_index + 1) * entry.edition.block_bytes
            layout = BlockLayout(
                size_bytes=stop if size is None else size, block_bytes=entry.edition.block_bytes
            )
            span = layout.span(self._next_index)
            for start in range(span.start_byte, span.stop_byte, PART_BYTES):
                self._update(entry.read_span(Span(start, min(start + PART_BYTES, span.stop_byte))))
            self._next_index += 1

    def _take_early(self) -> bool:
        """Hash those early blocks whose turn has come; the caller has the turn."""
        has_any = False
        while (body := self._early.pop(self._next_index, None)) is not None:
            self._take(body)
            has_any = True
        return has_any

    def _take(self, body: bytes | memoryview) -> None:
        """Hash the next block; the caller has the turn."""
        self._update(body)
        self._next_index += 1

    def _update(self, body: bytes | memoryview) -> None:
        self._hasher.update(body)
        if self._checking is not None:
            self._checking.update(body)

    def digest(self) -> Digest:
        """Return the digest of what was hashed."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def checksum_found(self) -> str:
        """Return the value of the checksum if it is not the one that was told, else nothing."""
        found = self._checking.hexdigest() if self._checking is not None else ""
        return "" if found == self._checksum else found
