"""The store in memory: the twin of the one on disk, for tests and for what shall not stay."""

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import BinaryIO

import blake3

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.caching.eviction import Evictable, enough_of, eviction_order
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.errors import StorageDamagedError, StorageFullError
from damselfly.storage.entry import Entry
from damselfly.storage.journal import Record
from damselfly.storage.placing import fresh_output
from damselfly.storage.store import HeldBlock, SendableBlock, StoredEdition
from damselfly.wire.codecs.codec import BlockCodec  # noqa: TC001  # as in all modules
from damselfly.wire.packed_block import is_plain, plain_header


def _memory_file() -> BinaryIO:
    """Return a file that no folder has, so that the kernel can send from it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("damselfly"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


class MemoryEntry(Entry):
    """One edition in memory."""

    def __init__(self, store: "MemoryStore", edition: Edition) -> None:
        super().__init__(edition, used_wall_s=store.now_wall_s())
        self._store = store
        self._file = _memory_file()

    def write_block(self, block: HeldBlock) -> None:
        """Store a verified block; storing it again changes nothing."""
        assert not self.edition.is_packed
        assert block.header is None or is_plain(block.header)
        if block.block_index in self._awake():
            return
        self._store.make_room(self, len(block.body))
        record = Record(block.block_index, len(block.body), block.digest, block.body_crc32c)
        with self._lock:
            if self.is_dropped:
                raise StorageDamagedError(path="memory", what="it was dropped meanwhile")
            offset = block.block_index * self.edition.block_bytes
            os.pwrite(self._file.fileno(), block.body, offset)
            self._note(record)

    def set_size(self, size_bytes: int) -> None:
        """Record the length of a source that did not tell it at first."""
        self.edition = self.edition.sized(size_bytes)

    def mark_validated(self, wall_s: float) -> None:
        """Record that the source confirmed this edition."""
        if self.is_dropped:
            raise StorageDamagedError(path="memory", what="it was dropped meanwhile")
        self.validated_wall_s = wall_s

    def mark_public(self) -> None:
        """Record that the source gave it to somebody who showed no credentials."""
        self.is_public = True

    def keep(self, *, is_kept: bool) -> None:
        """Record whether the operator wants it kept."""
        self.is_kept = is_kept

    def is_block_right(self, block_index: int) -> bool:
        """Read a block again, and say whether it is what it was; True of one that is not held."""
        record = self._awake().get(block_index)
        if record is None:
            return True
        offset = block_index * self.edition.block_bytes
        body = os.pread(self._file.fileno(), record.plain_bytes, offset)
        return blake3.blake3(body).digest() == record.digest

    def forget_block(self, block_index: int) -> bool:
        """Count a held block as missing, and the entry as not sealed, if nobody has it pinned."""
        with self._lock:
            return not self._pins and self._forget(block_index)

    def seal(self, digest: Digest | None) -> None:
        """Record that all is held and checked."""
        assert len(self.held) == self.edition.layout.block_count
        self.edition = self.edition.with_digest(digest)
        self.is_sealed = True

    def read_span(self, span: Span) -> bytes:
        """Return bytes of held blocks."""
        if self.is_dropped:
            raise StorageDamagedError(path="memory", what="it was dropped meanwhile")
        data = os.pread(self._file.fileno(), len(span), span.start_byte)
        if len(data) != len(span):
            raise StorageDamagedError(path="memory", what="bytes that are not held")
        return data

    def sendable(self, block_index: int) -> SendableBlock | None:
        """Return where a held block lies, None when it is not held."""
        with self._lock:
            record = self._awake().get(block_index)
        if record is None:
            return None
        return SendableBlock(
            file=self._file,
            offset=block_index * self.edition.block_bytes,
            header=plain_header(self.edition.edition_id, block_index, record.plain_bytes),
            body_crc32c=record.body_crc32c,
        )

    def place(self, path: str) -> str:
        """Put the whole content at `path`, and return how: always `copy`."""
        layout = self.edition.layout
        with fresh_output(path) as file:
            for index in range(layout.block_count):
                file.write(self.read_span(layout.span(index)))
        return "copy"

    def remove(self) -> None:
        """Give the memory back; the store calls it."""
        with self._lock:
            self.is_dropped = True
            self._held = BlockSet()
            self._records = {}
            self.stored_bytes = 0
            if not self._pins:  # else somebody may be sending from it; unpin() closes it
                self._file.close()

    def close_files(self) -> None:
        """Close the file of a dropped entry, whoever has it pinned."""
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        if self.is_dropped:
            self._file.close()


class MemoryStore:
    """A memory full of editions.

    Attributes:
        now_wall_s: Seconds since 1970.
        codecs: None: all lies in plain.
    """

    def __init__(self, *, quota_bytes: int = 0, now_wall_s: Callable[[], float]) -> None:
        self._quota_bytes = quota_bytes
        self.now_wall_s = now_wall_s
        self.codecs: dict[int, BlockCodec] = {}
        self._lock = threading.RLock()
        self._entries: dict[EditionId, MemoryEntry] = {}

    def put_aside(self, codec: int) -> None:
        """Use a codec no more in this process: it failed."""
        self.codecs.pop(codec, None)

    def open(self, edition: Edition) -> MemoryEntry:
        """Return the entry of an edition, new if need be, pinned once."""
        with self._lock:
            entry = self._entries.get(edition.edition_id)
            if entry is None:
                wanted = edition.size_bytes or 0
                if 0 < self._quota_bytes < wanted:
                    raise StorageFullError(
                        path="memory", needed_bytes=wanted, free_bytes=self._quota_bytes
                    )
                # A memory keeps blocks in plain; who opened the edition goes by the entry's.
                entry = MemoryEntry(self, replace(edition, is_packed=bool(edition.cipher)))
                self.make_room(entry, wanted)
                entry.pin()  # only now: one that finds no room is dropped, and closed
                self._entries[edition.edition_id] = entry
                return entry
            entry.pin()
            entry.used_wall_s = self.now_wall_s()
            return entry

    def find(self, edition_id: EditionId) -> MemoryEntry | None:
        """Return the entry of an edition, if there is one."""
        with self._lock:
            entry = self._entries.get(edition_id)
            if entry is not None:
                entry.used_wall_s = self.now_wall_s()
            return entry

    def editions_of(self, task_id: TaskId) -> Sequence[MemoryEntry]:
        """Return the entries of a task, the last validated first."""
        found = [entry for entry in self.entries() if entry.edition.task_id == task_id]
        return sorted(found, key=lambda entry: -entry.validated_wall_s)

    def entries(self) -> Sequence[MemoryEntry]:
        """Return all entries."""
        with self._lock:
            return list(self._entries.values())

    def count(self) -> int:
        """Return how many entries there are."""
        return len(self._entries)

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""
        assert isinstance(entry, MemoryEntry)
        with self._lock:
            if self._entries.get(entry.edition.edition_id) is entry:
                del self._entries[entry.edition.edition_id]
        if not entry.is_dropped:
            entry.remove()

    def used_bytes(self) -> int:
        """Return what all entries occupy."""
        return sum(entry.stored_bytes for entry in self.entries())

    def settle(self) -> None:
        """Do nothing: a memory outlives no crash."""

    def close(self) -> None:
        """Give all memory back."""
        for entry in self.entries():
            self.drop(entry)
            entry.close_files()

    def make_room(self, entry: MemoryEntry, wanted_bytes: int) -> None:
        """Evict idle entries until so many bytes fit.

        Raises:
            StorageFullError: They do not; the entry that wanted them is dropped.
        """
        if not self._quota_bytes:
            return
        with self._lock:
            free = self._quota_bytes - self.used_bytes()
            if free >= wanted_bytes:
                return
            idle = [
                Evictable(
                    name=edition_id,
                    stored_bytes=each.stored_bytes,
                    used_wall_s=each.used_wall_s,
                    is_elsewhere=each.is_elsewhere,
                )
                for edition_id, each in self._entries.items()
                if not (each.is_pinned or each.is_kept)
            ]
            order = eviction_order(idle, now_wall_s=self.now_wall_s())
            chosen = enough_of(order, wanted_bytes=wanted_bytes - free)
            for evicted in chosen:
                self.drop(self._entries[EditionId(evicted.name)])
            if chosen:
                return
        self.drop(entry)
        raise StorageFullError(path="memory", needed_bytes=wanted_bytes, free_bytes=max(free, 0))
