"""What the entries of all stores share: which blocks are held, and who uses the entry.

An entry that nobody used for a while may *sleep*: what it is stays in memory, and what is known
of its blocks is read again when it is needed. A cache may have a hundred thousand of them.
"""

import threading
from typing import Final

from damselfly.core.blocks import BlockSet
from damselfly.core.task import Edition
from damselfly.storage.catalog import EditionFile
from damselfly.storage.journal import Record
from damselfly.wire.ciphers.data_keys import DataKey

# Shared by all entries, since a hundred thousand locks would take 10 MB; held for short.
_LOCKS: Final = tuple(threading.RLock() for _ in range(64))


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
        is_kept: The operator wants it kept.
        is_imported: It was put in from a file: there is no source to ask.
        import_url: By which it was put in, if that names it together with the tag.
        import_tag: See there.
        is_elsewhere: Others in the swarm hold it, too, as far as is known.
        stored_bytes: What it occupies.
    """

    __slots__ = (
        "__weakref__",
        "_held",
        "_lock",
        "_pins",
        "_records",
        "data_key",
        "edition",
        "import_tag",
        "import_url",
        "is_dropped",
        "is_elsewhere",
        "is_imported",
        "is_kept",
        "is_public",
        "is_sealed",
        "stored_bytes",
        "used_wall_s",
        "validated_wall_s",
    )

    def __init__(self, edition: Edition, *, used_wall_s: float) -> None:
        self.edition = edition
        self.is_sealed = False
        self.validated_wall_s = 0.0
        self.used_wall_s = used_wall_s
        self.is_dropped = False
        self.is_public = False
        self.data_key: DataKey | None = None
        self.is_kept = False
        self.is_imported = False
        self.import_url = self.import_tag = ""
        self.is_elsewhere = False
        self.stored_bytes = 0
        self._lock = _LOCKS[hash(edition.edition_id) % len(_LOCKS)]  # guards all that follows
        self._pins = 0
        # Both are None while a sealed entry sleeps.
        self._held: BlockSet | None = BlockSet()
        # {block: its record}; invariant: the keys are the held blocks.
        self._records: dict[int, Record] | None = {}

    def _take_over(self, known: EditionFile) -> None:
        """Be what a process before us left."""
        self.validated_wall_s, self.used_wall_s = known.validated_wall_s, known.used_wall_s
        self.is_public, self.is_kept = known.is_public, known.is_kept
        self.is_imported = known.is_imported
        self.import_url, self.import_tag = known.import_url, known.import_tag

    def mark_imported(self, url: str = "", tag: str = "") -> None:
        """Record that it was put in from a file: it is public, and no source is asked about it."""
        self.is_imported = self.is_public = True
        self.import_url, self.import_tag = url, tag

    @property
    def content_path(self) -> str:
        """The file that holds the content in plain, empty when there is none."""
        return ""

    def begin_plain(self) -> None:
        """Do nothing: it lies in plain."""

    def take_plain(self) -> str:
        """Return the file with the whole."""
        return self.content_path

    @property
    def held(self) -> BlockSet:
        """A copy of the set of blocks that are stored and verified."""
        held = self._held
        return BlockSet.full(self.edition.layout.block_count) if held is None else held.copy()

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
        record = self._awake().get(block_index)
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

    def _awake(self) -> dict[int, Record]:
        """Return what is known of the blocks, read again if the entry slept."""
        records = self._records
        if records is None:
            with self._lock:
                if self._records is None:
                    self._wake()
                records = self._records
        assert records is not None
        return records

    def _wake(self) -> None:
        """Set records and held blocks again; the caller has the lock."""
        raise NotImplementedError

    def _note(self, record: Record) -> None:
        """Count a block as held; the caller has the lock."""
        records, held = self._awake(), self._held
        assert held is not None
        if record.block_index not in records:
            self._count(record.stored_bytes)
        records[record.block_index] = record
        held.add(record.block_index)

    def _forget(self, block_index: int) -> bool:
        """Count a block as missing, and the entry as not sealed; the caller has the lock.

        Returns:
            Whether it was held.
        """
        records, held = self._awake(), self._held
        assert held is not None
        record = records.pop(block_index, None)
        if record is None:
            return False
        held.discard(block_index)
        self._count(-record.stored_bytes)
        self.is_sealed = False
        return True

    def _count(self, added_bytes: int) -> None:
        """It occupies so much more, or less."""
        self.stored_bytes += added_bytes
