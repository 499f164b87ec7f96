"""The edition that a download is about: its entry in the store and its block list."""

import asyncio
from collections.abc import AsyncIterator, Callable

from damselfly.core.blocks import BLOCKS_MAX, BlockSet, Span
from damselfly.core.digest import BLOCK_DIGEST_BYTES, Digest
from damselfly.core.peer import HostId
from damselfly.core.task import Edition
from damselfly.errors import DigestMismatchError, RemoteProtocolError
from damselfly.services.downloading.block_fetcher import BlockFetcher, Saved
from damselfly.services.downloading.download_parts import DownloadParts
from damselfly.services.seeding.reading import Limit
from damselfly.services.seeding.storing import store_block
from damselfly.services.seeding.whole_hasher import WholeHasher
from damselfly.services.stores import drop_plain, open_pinned
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.wire.ciphers.data_keys import DataKey


async def open_entry(
    store: BlockStore, edition: Edition, *, key: DataKey | None, is_public: bool
) -> StoredEdition:
    """Return the entry of an edition as the SuperNode told it, pinned.

    Args:
        store: Where.
        edition: What was told.
        key: Its data key, if it is encrypted and was asked for now.
        is_public: It needs no credentials.
    """

    def open_it() -> StoredEdition:
        entry = store.open(edition)
        try:
            if entry.is_locked and key is not None:
                entry.unlock(key)
            if edition.cipher:
                drop_plain(store, edition.task_id)
            if is_public:
                entry.mark_public()
            if entry.edition.size_bytes is None and edition.size_bytes is not None:
                entry.set_size(edition.size_bytes)
        except BaseException:
            entry.unpin()
            raise
        return entry

    return await open_pinned(open_it)


class OpenEdition:
    """An edition under way.

    Attributes:
        entry: Where its blocks go; pinned.
        digests: {block: its BLAKE3 digest} as far as they are known.
        readable: Blocks that are held, and counted.
    """

    def __init__(self, parts: DownloadParts, entry: StoredEdition, *, throttle: Limit) -> None:
        self.entry = entry
        self.readable = entry.held
        self.digests = {index: entry.digest_of(index) or b"" for index in self.readable}
        self._fetcher = BlockFetcher(parts, entry, throttle=throttle)
        self._hasher: WholeHasher | None = None

    @property
    def saved(self) -> Saved:
        """What compression saved so far, and what it cost here."""
        return self._fetcher.saved

    def bytes_of(self, blocks: BlockSet) -> int:
        """Return how many bytes these blocks have."""
        edition = self.entry.edition
        if edition.size_bytes is None:
            return len(blocks) * edition.block_bytes
        return sum(len(edition.layout.span(index)) for index in blocks)

    async def set_size(self, size_bytes: int) -> None:
        """Take in the length that the SuperNode told in the end.

        Raises:
            RemoteProtocolError: It told another one before.
        """
        if self.entry.edition.size_bytes is None:
            await asyncio.to_thread(self.entry.set_size, size_bytes)
        elif self.entry.edition.size_bytes != size_bytes:
            raise RemoteProtocolError("the SuperNode told two lengths of one edition")

    def span_of(self, first_index: int, stop_index: int | None) -> Span | None:
        """Return the bytes of a run of blocks; None, to the end, is None: all."""
        if stop_index is None:
            return None
        layout = self.entry.edition.layout
        return Span(layout.span(first_index).start_byte, layout.span(stop_index - 1).stop_byte)

    def list_blocks(self, first_index: int, digests: bytes) -> BlockSet:
        """Take in a stretch of the block list, and return which blocks it is about.

        Raises:
            RemoteProtocolError: It is none.
        """
        step = BLOCK_DIGEST_BYTES
        count = len(digests) // step
        if len(digests) % step or not 0 <= first_index <= BLOCKS_MAX - count:
            raise RemoteProtocolError("the SuperNode told a block list that cannot be")
        for offset in range(count):
            digest = digests[offset * step : (offset + 1) * step]
            self.digests.setdefault(first_index + offset, digest)
        return BlockSet(((1 << count) - 1) << first_index)

    async def store_content(self, content: bytes) -> AsyncIterator[int]:
        """Store a content that came whole, and yield each block that was missing.

        Raises:
            RemoteProtocolError: It has another length than the edition.
        """
        layout = self.entry.edition.layout
        if len(content) != layout.size_bytes:
            raise RemoteProtocolError("the SuperNode told a content of another length")
        held = self.entry.held
        for index in range(layout.block_count):
            if index not in held:
                span = layout.span(index)
                body = memoryview(content)[span.start_byte : span.stop_byte]
                digest = await asyncio.to_thread(store_block, self.entry, index, body, None)
                self.digests[index] = digest or b""
                yield index

    async def fetch(self, block_index: int, host_id: HostId, address: str) -> int:
        """Fetch a block from a parent; see `BlockFetcher.fetch`."""
        expected = self.digests.get(block_index, b"")
        return await self._fetcher.fetch(block_index, host_id, address=address, expected=expected)

    # --- the whole

    def hash_along(self, expected: Digest) -> None:
        """Hash the whole while its blocks come, so that its end waits for the last one alone."""
        self._hasher = WholeHasher(self.entry, expected.algorithm)
        self._fetcher.hash_along(self._hasher)
        self._hasher.finished = asyncio.ensure_future(self._hasher.run())
        # What it fails with is told by `check`; nobody may ask any more.
        self._hasher.finished.add_done_callback(lambda end: end.cancelled() or end.exception())

    def hash_soon(self, block_index: int, body: memoryview, on_hashed: Callable[[], None]) -> bool:
        """Hash a block where it lies in memory, if that is wanted; see `WholeHasher`."""
        return self._hasher is not None and self._hasher.hash_soon(block_index, body, on_hashed)

    def on_held(self, block_index: int) -> None:
        """There is one more block."""
        self.readable.add(block_index)
        if self._hasher is not None:
            self._hasher.add(block_index)

    def stop_hashing(self) -> None:
        """The digest of the whole is not wanted any more."""
        if self._hasher is not None and self._hasher.finished is not None:
            self._hasher.finished.cancel()
        self._fetcher.stop_hashing()

    async def check(self, store: BlockStore, expected: Digest) -> None:
        """Compare the digest of the whole, of which all blocks are held.

        Raises:
            DigestMismatchError: It is not what was expected; the entry is dropped.
        """
        if self._hasher is None:
            self.hash_along(expected)
        assert self._hasher is not None
        assert self._hasher.finished is not None
        self._hasher.end()
        await self._hasher.finished
        if self._hasher.digest() != expected:
            store.drop(self.entry)
            raise DigestMismatchError(expected=str(expected), actual=str(self._hasher.digest()))
