"""The store on disk: one sparse file per edition, with its content at the natural offsets.

::

    ROOT/damselfly-store          marks the folder as ours
    ROOT/lock                     held by the process that uses it
    ROOT/catalog                  what all entries are (catalog_log.py): a start reads it alone
    ROOT/editions/AB/TASK/EDITION/
        content                   the bytes
        journal                   which of them are verified (journal.py)
        edition.json              what it is; written anew by rename

After a SIGKILL the kernel still has all that was written, so the journal is believed. After
a crash of the machine it may have the journal and not the bytes, so the blocks of an entry
that was not settled are hashed again; nobody waits for the disk but `settle`. The content of
a sealed entry may be a hard link of somebody's output (placing.py): its time stamp and length
are compared before use, and an entry that somebody wrote into is dropped.
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from damselfly.core.caching.eviction import Evictable
from damselfly.core.task import Edition, EditionId, TaskId, is_edition_id, is_task_id
from damselfly.errors import StorageDamagedError, StorageFullError, StorageUnusableError
from damselfly.storage.catalog import EditionFile, read_edition_file
from damselfly.storage.catalog_log import CatalogLog, Dropped, Put
from damselfly.storage.decoded import DecodedBlocks
from damselfly.storage.disk_entry import DiskEntry, folder_of
from damselfly.storage.eviction_queue import EvictionQueue
from damselfly.storage.packed.laid_plain import FOLDER as PLAIN_FOLDER
from damselfly.storage.packed.packed_entry import PackedEntry
from damselfly.storage.store import StoredEdition
from damselfly.wire.codecs.codec import BlockCodec

MARKER: Final = "damselfly-store"
SLEEP_S: Final = 60.0  # who comes back after that reads a journal again: some kilobytes
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def boot_id() -> str:
    """Return what names this run of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


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
        if isinstance(exc, OSError):
            raise StorageDamagedError(
                path=self._entry.content_path, what=exc.strerror or str(exc)
            ) from exc


class DiskStore:
    """A folder full of editions.

    Attributes:
        root: The folder.
        boot_id: Names this run of the machine.
        codecs: With which bodies of packed blocks are decoded.
        decoded: What was decoded last, of all entries.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int = 0,
        reserve_bytes: int = 0,
        boot_id: str,
        now_wall_s: Callable[[], float],
        codecs: dict[int, BlockCodec] | None = None,
    ) -> None:
        """Take the folder, and take over what is in it.

        Raises:
            StorageUnusableError: It is not ours, in use, or not writable.
        """
        self.root = root
        self.boot_id = boot_id
        self.codecs = {} if codecs is None else codecs
        self.decoded = DecodedBlocks()
        self._now_wall_s = now_wall_s
        self._quota_bytes = quota_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.RLock()  # guards the entries; taken before an entry's own
        self._entries: dict[EditionId, DiskEntry] = {}
        # {task: its editions' ids}; invariant: those of the entries, no more and no less.
        self._of_task: dict[TaskId, tuple[EditionId, ...]] = {}
        # Those that do not sleep, or must still be settled.
        self._active: dict[EditionId, DiskEntry] = {}
        self._counting = threading.Lock()  # guards the sum
        self._used_bytes = 0
        self._leaving = EvictionQueue(self._all_idle, self._is_idle)
        self._lock_file = self._take_folder()
        shutil.rmtree(root / PLAIN_FOLDER, ignore_errors=True)  # of one that was killed
        self._catalog = CatalogLog(root / "catalog", boot_id=boot_id)
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
        """Take over what the catalog has, and what lies in folders that it may not know."""
        unsure: dict[str, EditionFile] = {}  # their own files know more than the catalog
        wasted = 0
        for record in self._catalog.read():
            edition_id = record.edition_id
            was_known = unsure.pop(edition_id, None) or self._disown(EditionId(edition_id))
            wasted += bool(was_known) + isinstance(record, Dropped)
            if isinstance(record, Put) and not self._adopt(record):
                unsure[edition_id] = record.known
        for known in unsure.values():
            if (edition := known.edition()) is not None:
                self._load(folder_of(self.root, edition))
        if not self._catalog.is_complete:
            for folder in (self.root / "editions").glob("*/*/*"):
                if folder.name not in self._entries:
                    self._load(folder)
        self._catalog.start(self._rows(), wasted=wasted)

    def _adopt(self, row: Put) -> bool:
        """Take over an entry asleep, if all that is known of it must be in the catalog."""
        known, edition = row.known, row.known.edition()
        if not (known.is_sealed and (known.is_settled or self._is_this_boot(known))):
            return False
        if edition is not None:
            entry = self._new_entry(edition)
            entry.adopt(known, row.stored_bytes)
            self._add(entry)
        return True

    def _is_this_boot(self, known: EditionFile) -> bool:
        return bool(self.boot_id) and known.boot_id == self.boot_id

    def _load(self, folder: Path) -> None:
        """Take over what a folder has, or remove it."""
        known = read_edition_file(folder) if is_edition_id(folder.name) else None
        edition = known.edition() if known else None
        if known is None or edition is None or edition.edition_id != folder.name:
            shutil.rmtree(folder, ignore_errors=True)  # half made, or half dropped
            return
        entry = self._new_entry(edition)
        try:
            entry.load(known, is_same_boot=self._is_this_boot(known))
        except (StorageDamagedError, OSError):
            entry.remove()
            self.count_bytes(-entry.stored_bytes)
            return
        entry.close_files()
        self._add(entry)

    def _add(self, entry: DiskEntry) -> None:
        """Have an entry in the store; the caller has the lock, or nobody else the store."""
        edition = entry.edition
        self._entries[edition.edition_id] = entry
        others = self._of_task.get(edition.task_id, ())
        self._of_task[edition.task_id] = (*others, edition.edition_id)
        if not entry.is_at_rest:
            self._active[edition.edition_id] = entry

    def _disown(self, edition_id: EditionId) -> DiskEntry | None:
        """Have an entry no longer in the store, and return it; the caller has the lock."""
        entry = self._entries.pop(edition_id, None)
        if entry is None:
            return None
        self._active.pop(edition_id, None)
        task_id = entry.edition.task_id
        others = tuple(each for each in self._of_task.pop(task_id) if each != edition_id)
        if others:
            self._of_task[task_id] = others
        self.count_bytes(-entry.stored_bytes)
        return entry

    def _rows(self) -> Iterator[Put]:
        return (Put(entry.known(), entry.stored_bytes) for entry in self.entries())

    def _new_entry(self, edition: Edition) -> DiskEntry:
        return PackedEntry(self, edition) if edition.is_packed else DiskEntry(self, edition)

    def put_aside(self, codec: int) -> None:
        """Use a codec no more in this process: it failed."""
        self.codecs.pop(codec, None)

    def now_wall_s(self) -> float:
        """Return seconds since 1970."""
        return self._now_wall_s()

    # --- what the contract promises

    def open(self, edition: Edition) -> DiskEntry:
        """Return the entry of an edition, new if need be, pinned once."""
        assert is_task_id(edition.task_id)
        assert is_edition_id(edition.edition_id)
        if edition.is_packed and not (edition.cipher or self.codecs):
            # All of its blocks will come in plain, so readers are served best by plain bytes.
            edition = replace(edition, is_packed=False)
        with self._lock:
            entry = self.find(edition.edition_id)
            if entry is None:
                entry = self._new_entry(edition)
                entry.pin()
                self._create(entry)
                self._add(entry)
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
        except (OSError, StorageDamagedError) as exc:
            entry.remove()
            self._catalog.drop(entry.edition.edition_id)
            entry.unpin()  # nobody else will, and its files may be open
            if isinstance(exc, StorageDamagedError):
                raise StorageUnusableError(path=str(self.root), reason=exc.what) from exc
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
                entry.look()
            except StorageDamagedError:
                self.drop(entry)
                return None
            self._active[edition_id] = entry
            entry.used_wall_s = self.now_wall_s()
            return entry

    def editions_of(self, task_id: TaskId) -> Sequence[DiskEntry]:
        """Return the entries of a task, the last validated first."""
        with self._lock:
            found = [self.find(edition_id) for edition_id in self._of_task.get(task_id, ())]
        return sorted(
            (entry for entry in found if entry is not None),
            key=lambda entry: -entry.validated_wall_s,
        )

    def entries(self) -> Sequence[DiskEntry]:
        """Return all entries."""
        with self._lock:
            return list(self._entries.values())

    def count(self) -> int:
        """Return how many entries there are."""
        return len(self._entries)

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""
        assert isinstance(entry, DiskEntry)
        edition = entry.edition
        with self._lock:
            if self._entries.get(edition.edition_id) is entry:
                self._disown(edition.edition_id)
                entry.remove()
                self._catalog.drop(edition.edition_id)
        if not entry.is_dropped:
            entry.remove()

    def used_bytes(self) -> int:
        """Return what all entries occupy."""
        return self._used_bytes

    def count_bytes(self, added_bytes: int) -> None:
        """An entry occupies so much more, or less."""
        with self._counting:
            self._used_bytes += added_bytes

    def note(self, known: EditionFile, stored_bytes: int) -> None:
        """Write down in the catalog what an entry is now."""
        self._catalog.put(known, stored_bytes)

    def settle(self) -> None:
        """Wait until the disk has all that is sealed; whoever is idle falls asleep."""
        with self._lock:
            active = list(self._active.items())
        for edition_id, entry in active:
            entry.settle()
            if self.now_wall_s() - entry.used_wall_s < SLEEP_S:
                continue
            with self._lock:
                if self._active.get(edition_id) is entry and entry.fall_asleep():
                    del self._active[edition_id]
                    self.note(entry.known(), entry.stored_bytes)  # when it was last used
        if active:
            self._catalog.settle()
        if self._catalog.wants_rewriting:
            self._catalog.rewrite(self._rows())

    def close(self) -> None:
        """Write what is not written, and give the folder free."""
        with self._lock:
            for entry in self._active.values():
                entry.close_files()
        self._catalog.rewrite(self._rows(), is_closing=True)
        self._lock_file.close()

    def abandon(self) -> None:
        """Leave the folder as a kill does, at once: nothing is written, all files are closed."""
        for entry in self._active.values():
            entry.close_files()
        self._catalog.abandon()
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
            now_wall_s = self.now_wall_s()
            chosen = self._leaving.choose(wanted_bytes - free, now_wall_s=now_wall_s)
            for name in chosen:
                self.drop(self._entries[EditionId(name)])
            if chosen:
                return
        self.drop(entry)
        raise StorageFullError(path=str(self.root), needed_bytes=wanted_bytes, free_bytes=free)

    def _all_idle(self) -> Iterator[Evictable]:
        for edition_id, entry in self._entries.items():
            if not (entry.is_pinned or entry.is_kept):
                yield Evictable(
                    name=edition_id,
                    stored_bytes=entry.stored_bytes,
                    used_wall_s=entry.used_wall_s,
                    is_elsewhere=entry.is_elsewhere,
                )

    def _is_idle(self, candidate: Evictable) -> bool:
        entry = self._entries.get(EditionId(candidate.name))
        return entry is not None and (
            not (entry.is_pinned or entry.is_kept)
            and (entry.used_wall_s, entry.stored_bytes)
            == (candidate.used_wall_s, candidate.stored_bytes)
        )
