"""One edition on disk: its content, its journal, what it is."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

import blake3

from damselfly.core.blocks import Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition
from damselfly.errors import StorageDamagedError
from damselfly.storage.catalog import EditionFile, write_edition_file
from damselfly.storage.entry import Entry
from damselfly.storage.journal import RECORD_BYTES, Record, read_records
from damselfly.storage.placing import place
from damselfly.storage.store import HeldBlock, SendableBlock, StoredEdition


class EntryHome(Protocol):
    """What an entry wants of its store.

    Attributes:
        boot_id: Names this run of the machine.
    """

    boot_id: str

    def now_wall_s(self) -> float:
        """Return seconds since 1970."""

    def room_for(self, entry: "DiskEntry", wanted_bytes: int) -> AbstractContextManager[None]:
        """Return a context in which so many bytes can be written for an entry."""

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""


class DiskEntry(Entry):
    """One edition on disk."""

    def __init__(self, store: EntryHome, folder: Path, edition: Edition) -> None:
        super().__init__(edition, used_wall_s=store.now_wall_s())
        self._store = store
        self._folder = folder
        self._content: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._sealed_stamp: tuple[int, int] | None = None
        self._is_settled = False
        self._writing_file = threading.Lock()  # edition.json, by one thread at a time

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
            self._close_files()

    def _close_files(self) -> None:
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
        self.is_public = known.is_public
        journal = self._folder / "journal"
        data = journal.read_bytes() if journal.exists() else b""
        records = list(read_records(data))
        if len(data) != RECORD_BYTES * len(records):
            with journal.open("r+b") as file:
                file.truncate(RECORD_BYTES * len(records))
        if known.is_sealed:
            self._load_sealed(known, records, is_same_boot=is_same_boot)
            return
        with self._lock:
            for record in records:
                if is_same_boot or self._is_right(record):
                    self._note(record)
        if not is_same_boot:  # from now on the journal is believed in this run of the machine
            self._keep_records()

    def _keep_records(self) -> None:
        """Write the journal anew, with the blocks that are held."""
        temporary = self._folder / "journal.new"
        temporary.write_bytes(b"".join(record.encode() for record in self._records.values()))
        temporary.replace(self._folder / "journal")

    def _load_sealed(
        self, known: EditionFile, records: list[Record], *, is_same_boot: bool
    ) -> None:
        self.is_sealed, self._is_settled = True, known.is_settled
        with self._lock:
            for record in records:
                if not (is_same_boot or known.is_settled or self._is_right(record)):
                    raise StorageDamagedError(
                        path=str(self._folder), what="the machine crashed before the disk had it"
                    )
                self._note(record)
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
        with self._store.room_for(self, 0), self._writing_file:
            self._check_alive()
            write_edition_file(self._folder, self._edition_file())

    def _edition_file(self) -> EditionFile:
        mtime_ns, content_bytes = self._sealed_stamp or (0, 0)
        return EditionFile.of(
            self.edition,
            boot_id=self._store.boot_id,
            is_sealed=self.is_sealed,
            is_public=self.is_public,
            validated_wall_s=self.validated_wall_s,
            used_wall_s=self.used_wall_s,
            content_mtime_ns=mtime_ns,
            content_bytes=content_bytes,
            is_settled=self._is_settled,
        )

    # --- blocks

    def write_block(self, block: HeldBlock) -> None:
        """Store a verified block; storing it again changes nothing."""
        assert not self.edition.cipher  # the plain layout has no sealed bodies
        if block.block_index in self._records:
            return
        record = Record(block.block_index, len(block.body), block.digest, block.body_crc32c)
        with self._store.room_for(self, len(block.body)), self._pinned():
            with self._lock:
                self._check_alive()
                content, journal = self._files()
            self._pwrite(content, block.body, block.block_index * self.edition.block_bytes)
            with self._lock:
                self._check_alive()
                if block.block_index not in self._records:
                    journal.write(record.encode())
                    self._note(record)

    @contextlib.contextmanager
    def _pinned(self) -> Iterator[None]:
        """Keep the files open, although the task that has the pin may be cancelled meanwhile."""
        self.pin()
        try:
            yield
        finally:
            self.unpin()

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
        if self.edition.size_bytes == size_bytes:
            return  # even the same length would change the time stamp
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

    def mark_public(self) -> None:
        """Record that the source gave it to somebody who showed no credentials."""
        if not self.is_public:
            self.is_public = True
            if self.is_sealed:
                self._write_edition_file()

    def seal(self, digest: Digest | None) -> None:
        """Record that all is held and checked; `settle` waits for the disk."""
        assert len(self._held) == self.edition.layout.block_count
        if self.is_sealed:
            return
        self.edition = self.edition.with_digest(digest)
        with self._lock:
            self._check_alive()
            content, _ = self._files()
            status = os.fstat(content.fileno())
            self._sealed_stamp = (status.st_mtime_ns, status.st_size)
            self.is_sealed = True
        self._write_edition_file()

    def settle(self) -> None:
        """Wait until the disk has a sealed content; one that it cannot write is dropped."""
        if self._is_settled or not self.is_sealed or self.is_dropped:
            return
        try:
            # Through files of its own: nobody who reads or sends waits for the disk.
            for name in ("content", "journal"):
                file = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            self._is_settled = True
            self._write_edition_file()
        except (OSError, StorageDamagedError):
            self._store.drop(self)

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
        with self._pinned():
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
        """Write down when it was last used, if the disk lets us: it matters little."""
        with contextlib.suppress(OSError), self._writing_file:
            write_edition_file(self._folder, self._edition_file())
