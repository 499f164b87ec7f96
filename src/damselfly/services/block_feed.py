"""The block list of one edition, told to its hosts as it grows."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from damselfly.core.peer import HostId
from damselfly.storage.store import StoredEdition
from damselfly.wire.session_messages import BlocksListed, Sealed, SuperNodeMessage

BATCH_S: Final = 0.02  # a block of 1 MiB takes 8 ms at 1 Gb/s; grants carry their own digest

Post = Callable[[HostId, SuperNodeMessage], None]


class BlockFeed:
    """Tells subscribers the digests of all blocks, now and as they come."""

    def __init__(self, entry: StoredEdition, *, post: Post) -> None:
        self._entry = entry
        self._post = post
        self._subscribers: set[HostId] = set()
        self._news: list[tuple[int, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, host_id: HostId) -> None:
        """Tell a host everything that is known, and all that follows."""
        self._flush()
        self._subscribers.add(host_id)
        known = ((index, self._entry.digest_of(index)) for index in self._entry.held)
        for message in self._listed((index, digest) for index, digest in known if digest):
            self._post(host_id, message)
        if self._entry.is_sealed:
            self._post(host_id, self._sealed())

    def unsubscribe(self, host_id: HostId) -> None:
        """Tell a host nothing more; unknown ones are fine."""
        self._subscribers.discard(host_id)

    def add(self, block_index: int, digest: bytes) -> None:
        """A block can be had; tells it with others of the moment."""
        self._news.append((block_index, digest))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._flush)

    def end(self) -> None:
        """Tell nothing more: what comes next may be another reading of the same edition."""
        if self._timer is not None:
            self._timer.cancel()
        self._subscribers.clear()

    def seal(self) -> None:
        """The list is complete and the whole has been checked."""
        self._flush()
        for host_id in self._subscribers:
            self._post(host_id, self._sealed())

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        news, self._news = self._news, []
        for message in self._listed(news):
            for host_id in self._subscribers:
                self._post(host_id, message)

    def _listed(self, blocks: Iterable[tuple[int, bytes]]) -> Iterator[BlocksListed]:
        """Yield the messages that list these blocks: one for each run of indices."""
        edition = self._entry.edition
        first, digests = 0, bytearray()
        count = 0

        def message() -> BlocksListed:
            return BlocksListed(
                task_id=edition.task_id,
                edition_id=edition.edition_id,
                first_index=first,
                digests=bytes(digests),
            )

        for index, digest in sorted(blocks):
            if count and index != first + count:
                yield message()
                count, digests = 0, bytearray()
            if not count:
                first = index
            digests += digest
            count += 1
        if count:
            yield message()

    def _sealed(self) -> Sealed:
        edition = self._entry.edition
        assert edition.size_bytes is not None
        return Sealed(
            task_id=edition.task_id,
            edition_id=edition.edition_id,
            size_bytes=edition.size_bytes,
            digest=str(edition.digest or ""),
        )
