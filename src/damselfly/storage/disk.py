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
that was not settled are hashed again; nobody waits for the disk but `settle`. The content of
a sealed entry may be a hard link of somebody's output (placing.py): its time stamp and length
are compared before use, and an entry that somebody wrote into is dropped.
"""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from damselfly.core.caching.eviction import Evictable, choose_evicted
from damselfly.core.task import Edition, EditionId, TaskId, is_edition_id, is_task_id
from damselfly.errors import StorageDamagedError, StorageFullError, StorageUnusableError
from damselfly.storage.catalog import read_edition_file
from damselfly.storage.disk_entry import DiskEntry
from damselfly.storage.store import StoredEdition

MARKER: Final = "damselfly-store"
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
        self._now_wall_s = now_wall_s
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

    def now_wall_s(self) -> float:
        """Return seconds since 1970."""
        return self._now_wall_s()

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
        except (OSError, StorageDamagedError) as exc:
            entry.remove()
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

    def settle(self) -> None:
        """Wait until the disk has all that is sealed."""
        for entry in self.entries():
            entry.settle()

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
