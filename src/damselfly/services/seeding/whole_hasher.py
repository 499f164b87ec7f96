"""The digest of a whole content, taken while its blocks come in.

The bytes must be hashed in the order of the file. That is done by one thread at a time, beside
those that store blocks: nobody who wants a block waits for the hash of the whole. Whoever has
stored one leaves its bytes in memory until they are hashed. Several blocks are under way at a time,
so a few come early: those wait for their turn, which is soon. What comes much too early is read
again in its turn.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from damselfly.core.blocks import BlockLayout, Span
from damselfly.core.digest import Digest
from damselfly.services.seeding.reading import PART_BYTES
from damselfly.services.seeding.storing_pace import SHORT_BYTES_MAX
from damselfly.storage.store import StoredEdition
from damselfly.wire.hashing import new_hasher

EARLY_BLOCKS_MAX: Final = 8  # as many as a host has under way at a time, and no more


@dataclass(frozen=True, slots=True)
class _Kept:
    """A block in memory; `on_hashed` is called when its bytes are needed no more."""

    body: memoryview
    on_hashed: Callable[[], None]


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
        self._lock = threading.Lock()  # guards the three that follow
        self._next_index = 0  # those before it are hashed, or being hashed
        self._held = entry.held  # what can be read from the store
        self._kept: dict[int, _Kept] = {}  # by block; invariant: none is below the next one
        self._is_over = False
        self._news = asyncio.Event()
        self._news.set()  # something may be held
        self._is_ending = False
        self.finished: asyncio.Future[None] | None = None

    def add(self, block_index: int) -> None:
        """A block is stored: it can be read when it is its turn."""
        with self._lock:
            self._held.add(block_index)
        self._news.set()

    def hash_soon(
        self,
        block_index: int,
        body: memoryview,
        on_hashed: Callable[[], None],
        *,
        can_wait: bool = False,
    ) -> bool:
        """Hash a block where it lies in memory; to be called before `add`.

        Args:
            block_index: The block.
            body: Its bytes.
            on_hashed: Called when they are needed no more, but not after `forget`.
            can_wait: They may stay until blocks have come that are still missing before it.

        Returns:
            Whether they must stay what they are until then. Otherwise they are read again.
        """
        with self._lock:
            before = range(self._next_index, block_index)
            if self._is_over or block_index < self._next_index or block_index in self._kept:
                return False
            if max(len(before), len(self._kept)) > EARLY_BLOCKS_MAX:
                return False
            if not can_wait and any(index not in self._kept for index in before):
                return False
            self._kept[block_index] = _Kept(body, on_hashed)
        self._news.set()
        return True

    def forget(self, block_index: int) -> bool:
        """Wait no more with the bytes of a block; False: they are being hashed just now."""
        with self._lock:
            return self._kept.pop(block_index, None) is not None

    def end(self) -> None:
        """There will be no more blocks than there are now; `run` returns when it has them."""
        self._is_ending = True
        self._news.set()

    async def run(self) -> None:
        """Follow the blocks until `end`."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                is_ending = self._is_ending
                while self._next_index in self._kept or self._next_index in self._held:
                    for kept in await self._hash_some():
                        kept.on_hashed()
                if is_ending:
                    return
        finally:
            self._is_over = True
            kept_still, self._kept = self._kept, {}
            for kept in kept_still.values():
                kept.on_hashed()

    async def _hash_some(self) -> list[_Kept]:
        # Short blocks in memory are hashed sooner than a thread is woken.
        is_short = self._entry.edition.block_bytes <= SHORT_BYTES_MAX
        if is_short and self._next_index in self._kept:
            return self._hash_next()
        return await asyncio.to_thread(self._hash_next)

    def _hash_next(self) -> list[_Kept]:
        """Hash, and return, what comes next in memory; if nothing does, a block of the store."""
        hashed: list[_Kept] = []
        while (kept := self._take_kept()) is not None:
            self._update(kept.body)
            hashed.append(kept)
        if not hashed and self._next_index in self._held:
            self._read_next()
        return hashed

    def _take_kept(self) -> _Kept | None:
        with self._lock:
            kept = self._kept.pop(self._next_index, None)
            self._next_index += kept is not None
        return kept

    def _read_next(self) -> None:
        with self._lock:
            index = self._next_index
            self._next_index += 1
        edition = self._entry.edition
        stop = (index + 1) * edition.block_bytes
        layout = BlockLayout(
            size_bytes=stop if edition.size_bytes is None else edition.size_bytes,
            block_bytes=edition.block_bytes,
        )
        span = layout.span(index)
        for start in range(span.start_byte, span.stop_byte, PART_BYTES):
            self._update(
                self._entry.read_span(Span(start, min(start + PART_BYTES, span.stop_byte)))
            )

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
