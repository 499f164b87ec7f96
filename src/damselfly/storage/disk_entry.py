"""One edition on disk: its content, its journal, what it is."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import blake3

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition
from damselfly.errors import StorageDamagedError
from damselfly.storage.catalog import EditionFile, write_edition_file
from damselfly.storage.decoded import DecodedBlocks
from damselfly.storage.entry import Entry
from damselfly.storage.journal import RECORD_BYTES, Record, read_records
from damselfly.storage.placing import place
from damselfly.storage.store import HeldBlock, SendableBlock, StoredEdition
from damselfly.wire.codecs.codec import BlockCodec
from damselfly.wire.packed_block import PackedHeader, is_plain, plain_header


class EntryHome(Protocol):
    """What an entry wants of its store.

    Attributes:
        root: Its folder.
        boot_id: Names this run of the machine.
        codecs: With which bodies of packed blocks are decoded.
        decoded: What was decoded last, of all entries.
    """

    root: Path
    boot_id: str
    codecs: dict[int, BlockCodec]
    decoded: DecodedBlocks

    def now_wall_s(self) -> float:
        """Return seconds since 1970."""

    def free_bytes(self) -> int:
        """Return what can still be written."""

    def room_for(self, entry: "DiskEntry", wanted_bytes: int) -> AbstractContextManager[None]:
        """Return a context in which so many bytes can be written for an entry."""

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""

    def count_bytes(self, added_bytes: int) -> None:
        """An entry occupies so much more, or less."""

    def note(self, known: EditionFile, stored_bytes: int) -> None:
        """Write down in the catalog what an entry is now."""


# edition.json is written by one thread at a time; a lock for each entry would take 10 MB.
_WRITERS: Final = 64
_writing_files: Final = tuple(threading.Lock() for _ in range(_WRITERS))


def folder_of(root: Path, edition: Edition) -> Path:
    """Return where an edition lies."""
    return root / "editions" / edition.task_id[:2] / edition.task_id / edition.edition_id


class DiskEntry(Entry):
    """One edition on disk, in plain: each block lies where it lies in the content.

    `packed/packed_entry.py` has the other layout, and overrides what differs.
    """

    _bytes_name = "content"
    _record_bytes = RECORD_BYTES

    __slots__ = (
        "_content",
        "_is_settled",
        "_journal",
        "_sealed_stamp",
        "_store",
    )

    def __init__(self, store: EntryHome, edition: Edition) -> None:
        super().__init__(edition, used_wall_s=store.now_wall_s())
        self._store = store
        self._content: BinaryIO | None = None
        self._journal: BinaryIO | None = None
        self._sealed_stamp: tuple[int, int] | None = None
        self._is_settled = False

    @property
    def _folder(self) -> Path:
        return folder_of(self._store.root, self.edition)

    @property
    def content_path(self) -> str:
        """The file that holds the content in plain, empty when there is none."""
        return self._bytes_path

    @property
    def _bytes_path(self) -> str:
        """The file with the blocks."""
        return str(self._folder / self._bytes_name)

    # --- files

    def _files(self) -> tuple[BinaryIO, BinaryIO]:
        """Return content and journal, open; the caller has the lock."""
        if self._content is None or self._journal is None:
            # A sealed one may have been made read-only, as the hard link that it may be.
            access = os.O_RDONLY if self.is_sealed else os.O_RDWR | os.O_CREAT
            content = os.open(self._bytes_path, access | os.O_CLOEXEC, 0o600)
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
        # First: a folder that the catalog does not know would not be found again.
        self._store.note(self.known(), 0)
        self._folder.mkdir(parents=True, mode=0o700)
        self._write_edition_file()
        with self._lock:
            content, _ = self._files()
            self._shape(content)

    def _shape(self, content: BinaryIO) -> None:
        """Give the file the length that it will have, as far as that is known."""
        if self.edition.size_bytes is not None:
            os.ftruncate(content.fileno(), self.edition.size_bytes)

    @staticmethod
    def _read_records(data: bytes) -> Iterator[Record]:
        """Yield the records of a journal up to the first that is torn or wrong."""
        return read_records(data)

    def adopt(self, known: EditionFile, stored_bytes: int) -> None:
        """Take over a sealed entry as the catalog has it, asleep, without a look at the disk."""
        self._take_over(known)
        self.is_sealed, self._is_settled = True, known.is_settled
        self._sealed_stamp = (known.content_mtime_ns, known.content_bytes)
        self._records = self._held = None
        self._count(stored_bytes)

    def look(self) -> None:
        """Look whether a sleeping or sealed entry is what it was, and wake it.

        Raises:
            StorageDamagedError: It is not.
        """
        self.check_unchanged()
        self._awake()

    def _wake(self) -> None:
        try:
            data = (self._folder / "journal").read_bytes()
        except OSError as exc:
            what = exc.strerror or str(exc)
            raise StorageDamagedError(path=str(self._folder), what=what) from exc
        records = {record.block_index: record for record in self._read_records(data)}
        if len(records) != self.edition.layout.block_count:
            raise StorageDamagedError(path=str(self._folder), what="its journal lacks blocks")
        self._held = BlockSet.of(records)
        self._records = records

    @property
    def is_at_rest(self) -> bool:
        """Nothing more has to be done for it: it is sealed, and outlives a crash."""
        return self.is_sealed and self._is_settled

    def fall_asleep(self) -> bool:
        """Let go what can be read again, if nobody uses the entry; returns whether."""
        with self._lock:
            if self._pins or not self.is_at_rest:
                return False
            self._close_files()
            self._records = self._held = None
            return True

    def load(self, known: EditionFile, *, is_same_boot: bool) -> None:
        """Take over what a process before us left.

        Raises:
            StorageDamagedError: A sealed entry that is not what it was.
        """
        self._take_over(known)
        journal = self._folder / "journal"
        data = journal.read_bytes() if journal.exists() else b""
        records = list(self._read_records(data))
        if len(data) != self._record_bytes * len(records):
            with journal.open("r+b") as file:
                file.truncate(self._record_bytes * len(records))
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
        temporary.write_bytes(b"".join(record.encode() for record in self._awake().values()))
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
        if len(self._awake()) != self.edition.layout.block_count:
            raise StorageDamagedError(path=str(self._folder), what="its journal lacks blocks")
        self.check_unchanged()

    def _is_right(self, record: Record) -> bool:
        content, _ = self._files()
        return blake3.blake3(self._body_of(content, record)).digest() == record.digest

    def _body_of(self, content: BinaryIO, record: Record) -> bytes:
        extent = self._extent(record)
        return os.pread(content.fileno(), len(extent), extent.start_byte)

    def _write_edition_file(self) -> None:
        with (
            self._store.room_for(self, 0),
            _writing_files[hash(self.edition.edition_id) % _WRITERS],
        ):
            self._check_alive()
            known = self.known()
            write_edition_file(self._folder, known)
            self._store.note(known, self.stored_bytes)

    def known(self) -> EditionFile:
        """Return what it is, for its own file and the catalog."""
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
            is_kept=self.is_kept,
            is_imported=self.is_imported,
            import_url=self.import_url,
            import_tag=self.import_tag,
        )

    def _count(self, added_bytes: int) -> None:
        self.stored_bytes += added_bytes
        self._store.count_bytes(added_bytes)

    # --- blocks

    def write_block(self, block: HeldBlock) -> None:
        """Store a verified block; storing it again changes nothing."""
        if block.block_index in self._awake():
            return
        with self._store.room_for(self, len(block.body)), self._pinned():
            with self._lock:
                self._check_alive()
                content, journal = self._files()
                record = self._record_of(block)
            self._lay(content, block, record)
            with self._lock:
                self._check_alive()
                if block.block_index not in self._awake():
                    journal.write(record.encode())
                    self._note(record)

    def _record_of(self, block: HeldBlock) -> Record:
        """Return the record of a block to be written; the caller has the lock."""
        assert block.header is None or is_plain(block.header)
        return Record(block.block_index, len(block.body), block.digest, block.body_crc32c)

    def _lay(self, content: BinaryIO, block: HeldBlock, record: Record) -> None:
        """Write a block to where its record says."""
        self._pwrite(content, block.body, self._extent(record).start_byte)

    def _extent(self, record: Record) -> Span:
        """Return where a block's body lies in the file."""
        start_byte = record.block_index * self.edition.block_bytes
        return Span(start_byte, start_byte + record.plain_bytes)

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
            self._shape(content)
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

    def keep(self, *, is_kept: bool) -> None:
        """Record whether the operator wants it kept."""
        if self.is_kept != is_kept:
            self.is_kept = is_kept
            self._write_edition_file()

    def mark_imported(self, url: str = "", tag: str = "") -> None:
        """Record that it was put in from a file: it is public, and no source is asked about it."""
        super().mark_imported(url, tag)
        self._write_edition_file()

    def is_block_right(self, block_index: int) -> bool:
        """Read a block again, and say whether it is what it was; True of one that is not held."""
        record = self._awake().get(block_index)
        if record is None:
            return True
        with self._pinned():
            with self._lock:
                self._check_alive()
                content, _ = self._files()
            is_right = self._is_right(record)
            if hasattr(os, "posix_fadvise"):  # others need the memory more
                extent = self._extent(record)
                os.posix_fadvise(
                    content.fileno(), extent.start_byte, len(extent), os.POSIX_FADV_DONTNEED
                )
        return is_right

    def forget_block(self, block_index: int) -> bool:
        """Count a held block as missing, and the entry as not sealed, if nobody has it pinned."""
        with self._lock:
            if self._pins or self.is_dropped or not self._forget(block_index):
                return False
            self._is_settled, self._sealed_stamp = False, None
            self._keep_records()  # before edition.json: a kill between leaves a damaged entry
        self._write_edition_file()
        return True

    def seal(self, digest: Digest | None) -> None:
        """Record that all is held and checked; `settle` waits for the disk."""
        assert len(self.held) == self.edition.layout.block_count
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
            for name in (self._bytes_name, "journal"):
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
            status = os.stat(self._bytes_path)
        except OSError as exc:
            raise StorageDamagedError(path=self._bytes_path, what="it is gone") from exc
        if (status.st_mtime_ns, status.st_size) != self._sealed_stamp:
            raise StorageDamagedError(path=self._bytes_path, what="somebody wrote into it")

    def read_span(self, span: Span) -> bytes:
        """Return bytes of held blocks."""
        self.check_unchanged()
        with self._pinned():
            with self._lock:
                self._check_alive()
                content, _ = self._files()
            data = os.pread(content.fileno(), len(span), span.start_byte)
        if len(data) != len(span):
            raise StorageDamagedError(path=self._bytes_path, what="it is shorter than it was")
        return data

    def sendable(self, block_index: int) -> SendableBlock | None:
        """Return where a held block lies, None when it is not held or no longer right."""
        try:
            self.check_unchanged()
        except StorageDamagedError:
            self._store.drop(self)
            return None
        with self._lock:
            record = self._awake().get(block_index)
            if record is None or self.is_dropped:
                return None
            content, _ = self._files()
        return SendableBlock(
            file=content,
            offset=self._extent(record).start_byte,
            header=self._header_of(record),
            body_crc32c=record.body_crc32c,
        )

    def _header_of(self, record: Record) -> PackedHeader:
        """Return what the body of a block is."""
        return plain_header(self.edition.edition_id, record.block_index, record.plain_bytes)

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
        folder = self._folder
        grave = folder.with_name(f"{folder.name}.dropped")
        with contextlib.suppress(OSError):
            folder.rename(grave)
        for path in (grave, folder):
            shutil.rmtree(path, ignore_errors=True)
