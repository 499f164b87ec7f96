"""One edition on disk as packed blocks: `ROOT/editions/AB/TASK/EDITION/packed`.

The blocks lie in the order in which they came, each with header and trailer as it travels
(docs/protocols/packed-block.md), so the kernel sends a body as it lies, compressed or
encrypted. The journal says where. Readers get plain bytes: a block is decoded when it is
read, and the last ones are kept for whoever reads on in them. Who wants a file gets one that was
laid meanwhile (`laid_plain.py`).

What a kill leaves beyond the last block of the journal is written over by the next one.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

import blake3
import crc32c

from damselfly.core.blocks import Span
from damselfly.core.task import Edition
from damselfly.errors import RemoteProtocolError, StorageDamagedError
from damselfly.storage.disk_entry import DiskEntry, EntryHome
from damselfly.storage.journal import Record
from damselfly.storage.packed.laid_plain import LaidPlain
from damselfly.storage.packed.packed_journal import (
    PACKED_RECORD_BYTES,
    PackedRecord,
    read_packed_records,
)
from damselfly.storage.placing import fresh_output
from damselfly.storage.store import HeldBlock
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.packed_block import (
    HEADER_BYTES,
    TRAILER_BYTES,
    PackedHeader,
    is_plain,
    plain_header,
    trailer,
)
from damselfly.wire.packing import unpack

DECODERS_MAX: Final = 4  # of one placing: beyond, the disk is the limit


class PackedEntry(DiskEntry):
    """One edition on disk, packed."""

    __slots__ = ("_end", "_plain")

    _bytes_name = "packed"
    _record_bytes = PACKED_RECORD_BYTES

    def __init__(self, store: EntryHome, edition: Edition) -> None:
        super().__init__(store, edition)
        # Where the next block goes; None: it follows from the records.
        self._end: int | None = None
        self._plain: LaidPlain | None = None  # as long as somebody uses the entry

    @property
    def content_path(self) -> str:
        """No file holds the content in plain."""
        return ""

    # --- what the layouts do differently

    def _shape(self, content: BinaryIO) -> None:
        """Leave the file to grow with its blocks."""

    @staticmethod
    def _read_records(data: bytes) -> Iterator[Record]:
        return read_packed_records(data)

    def _record_of(self, block: HeldBlock) -> PackedRecord:
        header = block.header or plain_header(
            self.edition.edition_id, block.block_index, len(block.body)
        )
        assert (header.cipher, header.key_id) == (self.edition.cipher, self.edition.key_id)
        assert header.body_bytes == len(block.body)
        if self._end is None:
            ends = (self._extent(record).stop_byte for record in self._awake().values())
            self._end = max(ends, default=-TRAILER_BYTES) + TRAILER_BYTES
        record = PackedRecord(
            block.block_index,
            header.plain_bytes,
            block.digest,
            block.body_crc32c,
            self._end,
            header.body_bytes,
            header.codec,
            header.cipher,
            header.key_id,
        )
        self._end += HEADER_BYTES + header.body_bytes + TRAILER_BYTES
        return record

    def _lay(self, content: BinaryIO, block: HeldBlock, record: Record) -> None:
        header = self._header_of(record).encode()
        extent = self._extent(record)
        self._pwrite(content, header, extent.start_byte - HEADER_BYTES)
        self._pwrite(content, block.body, extent.start_byte)
        self._pwrite(content, trailer(header, block.body_crc32c), extent.stop_byte)
        if block.plain is not None:
            self._store.decoded.put(block.digest, bytes(block.plain))
        plain = block.body if is_plain(self._header_of(record)) else block.plain
        if self._plain is not None and plain is not None:
            self._plain.lay(record.block_index, self._offset(record.block_index), plain)

    def _offset(self, block_index: int) -> int:
        """Return where a block begins in the content."""
        return block_index * self.edition.block_bytes

    def _extent(self, record: Record) -> Span:
        assert isinstance(record, PackedRecord)
        start_byte = record.offset + HEADER_BYTES
        return Span(start_byte, start_byte + record.body_bytes)

    def _header_of(self, record: Record) -> PackedHeader:
        assert isinstance(record, PackedRecord)
        return PackedHeader(
            edition_id=self.edition.edition_id,
            block_index=record.block_index,
            plain_bytes=record.plain_bytes,
            body_bytes=record.body_bytes,
            codec=record.codec,
            cipher=record.cipher,
            key_id=record.key_id,
        )

    def _is_right(self, record: Record) -> bool:
        content, _ = self._files()
        body = self._body_of(content, record)
        if crc32c.crc32c(body) != record.body_crc32c:
            return False
        if self.is_locked:
            return True  # nobody here can read more of it
        try:
            plain = self._unpacked(record, body)
        except RemoteProtocolError:
            return False
        return blake3.blake3(plain).digest() == record.digest

    # --- reading

    def _unpacked(self, record: Record, body: bytes) -> Buffer:
        header = self._header_of(record)
        return unpack(header, body, codecs=self._store.codecs, key=self.data_key)

    def _plain_of(self, block_index: int, *, is_kept: bool) -> bytes:
        """Return a block decoded; it is kept for the next reader, or not.

        Raises:
            StorageDamagedError: It is not held, or cannot be decoded here.
        """
        with self._lock:
            self._check_alive()
            content, _ = self._files()
        record = self._awake().get(block_index)
        if record is None:
            raise StorageDamagedError(path=self._bytes_path, what="bytes that are not held")
        plain = self._store.decoded.get(record.digest)
        if plain is not None:
            return plain
        body = self._body_of(content, record)
        if crc32c.crc32c(body) != record.body_crc32c:
            what = f"block {block_index} is not what was written"
            raise StorageDamagedError(path=self._bytes_path, what=what)
        if is_plain(self._header_of(record)):
            return body
        try:
            plain = bytes(self._unpacked(record, body))
        except RemoteProtocolError as exc:
            what = f"block {block_index} cannot be decoded: {exc}"
            raise StorageDamagedError(path=self._bytes_path, what=what) from exc
        if is_kept:
            self._store.decoded.put(record.digest, plain)
        return plain

    def read_span(self, span: Span) -> bytes:
        """Return plain bytes of held blocks."""
        self.check_unchanged()
        parts: list[bytes] = []
        position = span.start_byte
        with self._pinned():
            with self._lock:
                self._check_alive()
            while position < span.stop_byte:
                block_index, skipped = divmod(position, self.edition.block_bytes)
                plain = self._plain_of(block_index, is_kept=True)
                part = plain[skipped : skipped + span.stop_byte - position]
                if not part:
                    what = "it is shorter than it was"
                    raise StorageDamagedError(path=self._bytes_path, what=what)
                parts.append(part)
                position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def begin_plain(self) -> None:
        """Lay its blocks in plain as they come, unless they are encrypted or there is no room."""
        wanted = self.edition.size_bytes or 0
        with self._lock:
            if self._plain is None and self.is_pinned and not self.edition.cipher:
                with contextlib.suppress(OSError):
                    if self._store.free_bytes() >= wanted:
                        self._plain = LaidPlain(self._store.root, self.edition.edition_id)

    def take_plain(self) -> str:
        """Return a file with the whole in plain, empty when there is none to be given away."""
        self.check_unchanged()
        self.begin_plain()
        laid = self._plain
        if laid is None:
            return ""
        layout = self.edition.layout

        def lay(block_index: int) -> None:
            plain = self._plain_of(block_index, is_kept=False)
            laid.lay(block_index, self._offset(block_index), plain)

        self._decode_all(lay, (i for i in range(layout.block_count) if i not in laid.laid))
        with self._lock:
            return laid.take(layout.size_bytes)

    def place(self, path: str) -> str:
        """Decode the whole content into `path`, and return how: always `copy`."""
        self.check_unchanged()

        def lay(block_index: int) -> None:
            plain = self._plain_of(block_index, is_kept=False)
            self._pwrite(output, plain, self._offset(block_index))

        with self._pinned(), fresh_output(path) as output:
            self._decode_all(lay, range(self.edition.layout.block_count))
        return "copy"

    @staticmethod
    def _decode_all(lay: Callable[[int], None], block_indices: Iterable[int]) -> None:
        threads = min(DECODERS_MAX, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as decoders:
            for _ in decoders.map(lay, block_indices):
                pass

    def _close_files(self) -> None:
        super()._close_files()
        if self._plain is not None:
            self._plain.close()
            self._plain = None
