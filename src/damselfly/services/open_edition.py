"""The edition that a download is about: its entry in the store and its block list."""

import asyncio
from collections.abc import AsyncIterator

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import BLOCK_DIGEST_BYTES
from damselfly.core.peer import HostId
from damselfly.errors import RemoteProtocolError
from damselfly.services.block_fetcher import BlockFetcher
from damselfly.services.download_parts import DownloadParts
from damselfly.services.reading import store_block
from damselfly.storage.store import StoredEdition
from damselfly.transport.throttle import Throttle

BLOCK_INDEX_MAX = 1 << 24  # 4 TiB in blocks of 256 KiB; a wild index must not cost memory


class OpenEdition:
    """An edition under way.

    Attributes:
        entry: Where its blocks go; pinned.
        digests: {block: its BLAKE3 digest} as far as they are known.
    """

    def __init__(self, parts: DownloadParts, entry: StoredEdition, *, throttle: Throttle) -> None:
        self.entry = entry
        self.digests = {index: entry.digest_of(index) or b"" for index in entry.held}
        self._fetcher = BlockFetcher(parts, entry, throttle=throttle)

    def bytes_of(self, blocks: BlockSet) -> int:
        """Return how many bytes these blocks have."""
        edition = self.entry.edition
        if edition.size_bytes is None:
            return len(blocks) * edition.block_bytes
        return sum(len(edition.layout.span(index)) for index in blocks)

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
        if len(digests) % step or not 0 <= first_index <= BLOCK_INDEX_MAX - count:
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
