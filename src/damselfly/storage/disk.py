"""The store on disk: one sparse file per edition, with its content at the natural offsets.

::

    ROOT/damselfly-store          marks the folder as ours
    ROOT/lock                     held by the process that uses it
    ROOT/editions/AB/TASK/EDITION/
        content                   the bytes
        journal                   which of them are verified (journal.py)
        edition.json              what it is; written anew by rename

After a SIGKILL the kernel still has all that was written, so the journal is believed. After
a crash of the machine it may have the journal and not the bytes, so the blocks of an entry
that was not sealed are hashed again; sealing waits for the disk. The content of a sealed
entry may be a hard link of somebody's output (placing.py): its time stamp and length are
compared before use, and an entry that somebody wrote into is dropped.
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import blake3

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.caching.eviction import Evictable, choose_evicted
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, EditionId, TaskId, is_edition_id, is_task_id
from damselfly.errors import StorageDamagedError, StorageFullError, StorageUnusableError
from damselfly.storage.catalog import EditionFile, read_edition_file, write_edition_file
from damselfly.storage.entry import Entry
from damselfly.storage.journal import RECORD_BYTES, Record, read_records
from damselfly.storage.placing import place
from damselfly.storage.store import HeldBlock, SendableBlock, StoredEdition

MARKER: Final = "damselfly-store"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def boot_id() -> str:
    """Return what names this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class DiskEntry(Entry):
    """One edition on disk."""

    def __init__(self, store: "DiskStore", folder: Path, edition: Edition) -> None:
        super().__init__(edition, used_wall_s=store.now_wall_s())
        self._store = store
        self._folder = folder
        self._content: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._sealed_stamp: tuple[int, int] | None = None

    @property
    def content_path(self) -> str:
        """The file with the content."""
        return str(self._folder / "content")

    # --- files

    def _files(self) -> tuple[BinaryIO, BinaryIO]:
        """Return content and journal, open; the caller has the lock."""
        if self._content is None or self._journal is None:
            # A sealed one may have been made read-only, as the hard link that it may be.
            access = os.O_RDONLY if self.is_sealed else os.O_RDWR | os.O_CREAT
            content = os.open(self.content_path, access | os.O_CLOEXEC, 0o600)
            self._content = os.fdopen(content, "rb" if self.is_sealed else "r+b", buffering=0)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            journal = os.open(self._folder / "journal", flags, 0o600)
            self._journal = os.fdopen(journal, "ab", buffering=0)
        assert self._content is not None
        assert self._journal is not None
        return self._content, self._journal

    def close_files(self) -> None:
        """Close the files; they are opened again when needed."""
        with self._lock:
            for file in (self._content, self._journal):
                if file is not None:
                    file.close()
            self._content = self._journal = None

    def create(self) -> None:
        """Make the folder and files of a new entry."""
        self._folder.mkdir(parents=True, mode=0o700)
        self._write_edition_file()
        with self._lock:
            content, _ = self._files()
            if self.edition.size_bytes is not None:
                os.ftruncate(content.fileno(), self.edition.size_bytes)

    def load(self, known: EditionFile, *, is_same_boot: bool) -> None:
        """Take over what a process before us left.

        Raises:
            StorageDamagedError: A sealed entry that is not what it was.
        """
        self.validated_wall_s, self.used_wall_s = known.validated_wall_s, known.used_wall_s
        journal = self._folder / "journal"
        data = journal.read_bytes() if journal.exists() else b""
        records = list(read_records(data))
        if len(data) != RECORD_BYTES * len(records):
            with journal.open("r+b") as file:
                file.truncate(RECORD_BYTES * len(records))
        if known.is_sealed:
            self._load_sealed(known, records)
            return
        with self._lock:
            for record in records:
                if is_same_boot or self._is_right(record):
                    self._note(record)

    def _load_sealed(self, known: EditionFile, records: list[Record]) -> None:
        with self._lock:
            for record in records:
                self._note(record)
        self.is_sealed = True
        self._sealed_stamp = (known.content_mtime_ns, known.content_bytes)
        if len(self._held) != self.edition.layout.block_count:
            raise StorageDamagedError(path=str(self._folder), what="its journal lacks blocks")
        self.check_unchanged()

    def _is_right(self, record: Record) -> bool:
        content, _ = self._files()
        offset = record.block_index * self.edition.block_bytes
        body = os.pread(content.fileno(), record.plain_bytes, offset)
        return blake3.blake3(body).digest() == record.digest

    def _write_edition_file(self) -> None:
        mtime_ns, content_bytes = self._sealed_stamp or (0, 0)
        known = EditionFile.of(
            self.edition,
            boot_id=self._store.boot_id,
            is_sealed=self.is_sealed,
            validated_wall_s=self.validated_wall_s,
            used_wall_s=self.used_wall_s,
            content_mtime_ns=mtime_ns,
            content_bytes=content_bytes,
        )
        with self._store.room_for(self, 0):
            write_edition_file(self._folder, known)

    # --- blocks

    def write_block(self, block: HeldBlock) -> None:
        """Store a verified block; storing it again changes nothing."""
        if block.block_index in self._records:
            return
        record = Record(block.block_index, len(block.body), block.digest, block.body_crc32c)
        with self._store.room_for(self, len(block.body)):
            with self._lock:
                self._check_alive()
                content, journal = self._files()
            self._pwrite(content, block.body, block.block_index * self.edition.block_bytes)
            with self._lock:
                self._check_alive()
                if block.block_index not in self._records:
                    journal.write(record.encode())
                    self._note(record)

    @staticmethod
    def _pwrite(content: BinaryIO, body: bytes | bytearray | memoryview, offset: int) -> None:
        view = memoryview(body)
        while view:
            count = os.pwrite(content.fileno(), view, offset)
            view, offset = view[count:], offset + count

    def _check_alive(self) -> None:
        if self.is_dropped:
            raise StorageDamagedError(path=str(self._folder), what="it was dropped meanwhile")

    def set_size(self, size_bytes: int) -> None:
        """Record the length of a source that did not tell it at first."""
        self.edition = self.edition.sized(size_bytes)
        with self._lock:
            self._check_alive()
            content, _ = self._files()
            os.ftruncate(content.fileno(), size_bytes)
        self._write_edition_file()

    def mark_validated(self, wall_s: float) -> None:
        """Record that the source confirmed this edition."""
        self.validated_wall_s = wall_s
        self._write_edition_file()

    def seal(self, digest: Digest | None) -> None:
        """Record that all is held and checked, and wait until the disk has it."""
        assert len(self._held) == self.edition.layout.block_count
        if self.is_sealed:
            return
        self.edition = self.edition.with_digest(digest)
        with self._lock:
            self._check_alive()
            content, journal = self._files()
            os.fsync(content.fileno())
            os.fsync(journal.fileno())
            status = os.fstat(content.fileno())
            self._sealed_stamp = (status.st_mtime_ns, status.st_size)
            self.is_sealed = True
        self._write_edition_file()

    def forget_blocks(self, blocks: BlockSet) -> None:
        """Drop blocks that turned out to be wrong."""
        with self._lock:
            for block_index in blocks:
                self._unnote(block_index)
            _, journal = self._files()
            journal.truncate(0)
            journal.write(b"".join(record.encode() for record in self._records.values()))
            self.is_sealed, self._sealed_stamp = False, None
        self._write_edition_file()

    def check_unchanged(self) -> None:
        """Look whether somebody wrote into a sealed content.

        Raises:
            StorageDamagedError: Somebody did.
        """
        if self._sealed_stamp is None:
            return
        try:
            status = os.stat(self.content_path)
        except OSError as exc:
            raise StorageDamagedError(path=self.content_path, what="it is gone") from exc
        if (status.st_mtime_ns, status.st_size) != self._sealed_stamp:
            raise StorageDamagedError(path=self.content_path, what="somebody wrote into it")

    def read_span(self, span: Span) -> bytes:
        """Return bytes of held blocks."""
        self.check_unchanged()
        with self._lock:
            self._check_alive()
            content, _ = self._files()
        data = os.pread(content.fileno(), len(span), span.start_byte)
        if len(data) != len(span):
            raise StorageDamagedError(path=self.content_path, what="it is shorter than it was")
        return data

    def sendable(self, block_index: int) -> SendableBlock | None:
        """Return where a held block lies, None when it is not held or no longer right."""
        try:
            self.check_unchanged()
        except StorageDamagedError:
            self._store.drop(self)
            return None
        with self._lock:
            record = self._records.get(block_index)
            if record is None or self.is_dropped:
                return None
            content, _ = self._files()
        return SendableBlock(
            file=content,
            offset=block_index * self.edition.block_bytes,
            plain_bytes=record.plain_bytes,
            body_crc32c=record.body_crc32c,
        )

    def place(self, path: str) -> str:
        """Put the whole content at `path`, and return how."""
        self.check_unchanged()
        return place(self.content_path, path)

    def remove(self) -> None:
        """Delete the files; the store calls it."""
        self.is_dropped = True
        if not self.is_pinned:  # else somebody may be sending from them; unpin() closes them
            self.close_files()
        # Renamed first: a kill midway leaves no entry that looks whole.
        grave = self._folder.with_name(f"{self._folder.name}.dropped")
        try:
            self._folder.rename(grave)
        except OSError:
            grave = self._folder
        shutil.rmtree(grave, ignore_errors=True)

    def save_use(self) -> None:
        """Write down when it was last used."""
        self._write_edition_file()


class _Room:
    """Turns a full disk inside a block of code into a dropped entry and one clear error."""

    def __init__(self, store: "DiskStore", entry: DiskEntry, wanted_bytes: int) -> None:
        self._store, self._entry, self._wanted_bytes = store, entry, wanted_bytes

    def __enter__(self) -> None:
        self._store.make_room(self._entry, self._wanted_bytes)

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, OSError) and exc.errno in _FULL:
            self._store.drop(self._entry)
            free = self._store.free_bytes()
            raise StorageFullError(
                path=str(self._store.root), needed_bytes=self._wanted_bytes, free_bytes=free
            ) from exc


class DiskStore:
    """A folder full of editions.

    Attributes:
        root: The folder.
        boot_id: Names this run of the machine.
        now_wall_s: Seconds since 1970.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int = 0,
        reserve_bytes: int = 0,
        boot_id: str,
        now_wall_s: Callable[[], float],
    ) -> None:
        """Take the folder, and take over what is in it.

        Raises:
            StorageUnusableError: It is not ours, in use, or not writable.
        """
        self.root = root
        self.boot_id = boot_id
        self.now_wall_s = now_wall_s
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.RLock()  # guards the entries; taken before an entry's own
        self._entries: dict[EditionId, DiskEntry] = {}
        self._lock_file = self._take_folder()
        self._load_all()

    def _take_folder(self) -> BinaryIO:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.stat(self.root).st_uid != os.geteuid():
                raise StorageUnusableError(
                    path=str(self.root), reason="it belongs to another user; choose another one"
                )
            marker = self.root / MARKER
            if not marker.exists():
                if any(self.root.iterdir()):
                    raise StorageUnusableError(
                        path=str(self.root),
                        reason="it has other files in it; choose an empty folder or a new one",
                    )
                marker.write_text("This folder belongs to damselfly; all in it is a cache.\n")
            lock_file = (self.root / "lock").open("ab")
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                lock_file.close()
                raise StorageUnusableError(
                    path=str(self.root),
                    reason="another process uses it; stop that one or choose another folder",
                ) from exc
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise StorageUnusableError(path=str(self.root), reason=reason) from exc
        return lock_file

    def _load_all(self) -> None:
        for folder in sorted((self.root / "editions").glob("*/*/*")):
            known = read_edition_file(folder) if is_edition_id(folder.name) else None
            edition = known.edition() if known else None
            if known is None or edition is None or edition.edition_id != folder.name:
                shutil.rmtree(folder, ignore_errors=True)  # half made, or half dropped
                continue
            entry = DiskEntry(self, folder, edition)
            try:
                entry.load(known, is_same_boot=bool(self.boot_id) and known.boot_id == self.boot_id)
            except (StorageDamagedError, OSError):
                entry.remove()
                continue
            entry.close_files()
            self._entries[edition.edition_id] = entry

    # --- what the contract promises

    def open(self, edition: Edition) -> DiskEntry:
        """Return the entry of an edition, new if need be, pinned once."""
        assert is_task_id(edition.task_id)
        assert is_edition_id(edition.edition_id)
        with self._lock:
            entry = self.find(edition.edition_id)
            if entry is None:
                folder = (
                    self.root / "editions" / edition.task_id[:2] / edition.task_id
                ) / edition.edition_id
                entry = DiskEntry(self, folder, edition)
                entry.pin()
                self._create(entry)
                self._entries[edition.edition_id] = entry
                return entry
            entry.pin()
            entry.used_wall_s = self.now_wall_s()
            return entry

    def _create(self, entry: DiskEntry) -> None:
        wanted = entry.edition.size_bytes or 0
        if 0 < self._quota_bytes < wanted:
            raise StorageFullError(
                path=str(self.root), needed_bytes=wanted, free_bytes=self._quota_bytes
            )
        self.make_room(entry, wanted)
        try:
            entry.create()
        except OSError as exc:
            entry.remove()
            if exc.errno in _FULL:
                raise StorageFullError(
                    path=str(self.root), needed_bytes=wanted, free_bytes=self.free_bytes()
                ) from exc
            raise StorageUnusableError(
                path=str(self.root), reason=exc.strerror or str(exc)
            ) from exc

    def find(self, edition_id: EditionId) -> DiskEntry | None:
        """Return the entry of an edition, if there is one and it is what it was."""
        with self._lock:
            entry = self._entries.get(edition_id)
            if entry is None:
                return None
            try:
                entry.check_unchanged()
            except StorageDamagedError:
                self.drop(entry)
                return None
            entry.used_wall_s = self.now_wall_s()
            return entry

    def editions_of(self, task_id: TaskId) -> Sequence[DiskEntry]:
        """Return the entries of a task, the last validated first."""
        found = [entry for entry in self.entries() if entry.edition.task_id == task_id]
        return sorted(
            (entry for entry in found if self.find(entry.edition.edition_id)),
            key=lambda entry: -entry.validated_wall_s,
        )

    def entries(self) -> Sequence[DiskEntry]:
        """Return all entries."""
        with self._lock:
            return list(self._entries.values())

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""
        assert isinstance(entry, DiskEntry)
        with self._lock:
            if self._entries.get(entry.edition.edition_id) is entry:
                del self._entries[entry.edition.edition_id]
        if not entry.is_dropped:
            entry.remove()

    def used_bytes(self) -> int:
        """Return what all entries occupy."""
        return sum(entry.stored_bytes for entry in self.entries())

    def close(self) -> None:
        """Write what is not written, and give the folder free."""
        for entry in self.entries():
            entry.save_use()
            entry.close_files()
        self._lock_file.close()

    # --- room

    def room_for(self, entry: DiskEntry, wanted_bytes: int) -> _Room:
        """Return a context in which so many bytes can be written for an entry."""
        return _Room(self, entry, wanted_bytes)

    def free_bytes(self) -> int:
        """Return what can still be written: of the quota, and of the disk but its reserve."""
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize - self._reserve_bytes
        if self._quota_bytes:
            free = min(free, self._quota_bytes - self.used_bytes())
        return max(free, 0)

    def make_room(self, entry: DiskEntry, wanted_bytes: int) -> None:
        """Evict idle entries until so many bytes fit.

        Raises:
            StorageFullError: They do not; the entry that wanted them is dropped.
        """
        if not wanted_bytes:
            return
        with self._lock:
            free = self.free_bytes()
            if free >= wanted_bytes:
                return
            idle = {each.edition.edition_id: each for each in self.entries() if not each.is_pinned}
            chosen = choose_evicted(
                (
                    Evictable(
                        name=name, stored_bytes=each.stored_bytes, used_wall_s=each.used_wall_s
                    )
                    for name, each in idle.items()
                ),
                wanted_bytes=wanted_bytes - free,
            )
            for name in chosen:
                self.drop(idle[EditionId(name)])
            if chosen:
                return
        self.drop(entry)
        raise StorageFullError(path=str(self.root), needed_bytes=wanted_bytes, free_bytes=free)
