"""What the entries of all stores share: which blocks are held, and who uses the entry."""

import threading

from damselfly.core.blocks import BlockSet
from damselfly.core.task import Edition
from damselfly.storage.journal import Record
from damselfly.wire.ciphers.data_keys import DataKey


class Entry:
    """The state of an edition in a store, without its bytes.

    Attributes:
        edition: What it is.
        is_sealed: All blocks are held and the whole has been checked.
        validated_wall_s: When the source last confirmed it; 0 is never.
        used_wall_s: When somebody last used it.
        is_dropped: It is no longer in the store.
        is_public: Its source gave it to somebody who showed no credentials.
        data_key: What opens its blocks; in memory alone.
    """

    def __init__(self, edition: Edition, *, used_wall_s: float) -> None:
        self.edition = edition
        self.is_sealed = False
        self.validated_wall_s = 0.0
        self.used_wall_s = used_wall_s
        self.is_dropped = False
        self.is_public = False
        self.data_key: DataKey | None = None
        self._lock = threading.Lock()  # guards all that follows
        self._pins = 0
        self._held = BlockSet()
        # {block: its record}; invariant: the keys are the held blocks.
        self._records: dict[int, Record] = {}
        self.stored_bytes = 0

    @property
    def held(self) -> BlockSet:
        """A copy of the set of blocks that are stored and verified."""
        return self._held.copy()

    @property
    def is_locked(self) -> bool:
        """It is encrypted, and its data key is not here."""
        return bool(self.edition.cipher) and self.data_key is None

    def unlock(self, key: DataKey) -> None:
        """Give it the data key."""
        assert key.key_id == self.edition.key_id
        self.data_key = key

    @property
    def is_pinned(self) -> bool:
        """Somebody uses it."""
        return self._pins > 0

    def digest_of(self, block_index: int) -> bytes | None:
        """Return the BLAKE3 digest of a held block, None of a missing one."""
        record = self._records.get(block_index)
        return record.digest if record else None

    def pin(self) -> None:
        """Keep the entry from eviction until `unpin`; pins count."""
        with self._lock:
            self._pins += 1

    def unpin(self) -> None:
        """Take one pin away."""
        with self._lock:
            assert self._pins > 0
            self._pins -= 1
            if not self._pins:  # under the lock, or a new pin's files would be closed
                self._close_files()

    def _close_files(self) -> None:
        """Give back what only an entry in use needs; the caller has the lock."""

    def _note(self, record: Record) -> None:
        """Count a block as held; the caller has the lock."""
        if record.block_index not in self._records:
            self.stored_bytes += record.plain_bytes
        self._records[record.block_index] = record
        self._held.add(record.block_index)
