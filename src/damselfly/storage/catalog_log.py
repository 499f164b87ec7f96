"""`ROOT/catalog`: what is in the cache, in one file, so that a start walks no folders.

Records one after another, written as entries change: length u32, CRC-32C u32, big-endian, then
MessagePack: `Opened` by a process, `Put` for what an entry is now, `Dropped`, and `Closed` by a
process that ends in good order. The last record of an entry counts.

After a SIGKILL the kernel has all that was written. After a crash of the machine the end of the
file may be missing: then, and when the file is gone or torn, it is not `is_complete`, and the
store looks into its folders for what the file does not know. It can always be made anew.
"""

import contextlib
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import crc32c
import msgspec

from damselfly.storage.catalog import EditionFile

_HEAD: Final = struct.Struct(">II")
_RECORD_BYTES_MAX: Final = 1 << 20  # a record has some 400
_WASTE_MIN: Final = 10_000  # records that no longer count before the file is written anew


class Opened(msgspec.Struct, array_like=True, tag="o", frozen=True):
    """A process took the cache over, in this run of the machine."""

    boot_id: str


class Put(msgspec.Struct, array_like=True, tag="p", frozen=True):
    """What an entry is from now on, and what it occupies."""

    known: EditionFile
    stored_bytes: int

    @property
    def edition_id(self) -> str:
        """The entry's key."""
        return self.known.edition_id


class Dropped(msgspec.Struct, array_like=True, tag="d", frozen=True):
    """An entry left."""

    edition_id: str


class Closed(msgspec.Struct, array_like=True, tag="c", frozen=True):
    """The process ended in good order, and the disk has all that it wrote here."""


_Record = Opened | Put | Dropped | Closed
_decoder: Final = msgspec.msgpack.Decoder(_Record)
_encoder: Final = msgspec.msgpack.Encoder()


def _encode(record: _Record) -> bytes:
    body = _encoder.encode(record)
    return _HEAD.pack(len(body), crc32c.crc32c(body)) + body


class CatalogLog:
    """The file of a store; any thread may write.

    Attributes:
        is_complete: What was read is all there is.
    """

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self.is_complete = False
        self._path = path
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None  # None: not to be written to now
        self._wasted = 0  # records in it that no longer count

    def read(self) -> Iterator[Put | Dropped]:
        """Yield what the file says, one after another: there may be too much to hold it all."""
        boot_id, is_closed = "", False
        try:
            with self._path.open("rb") as file:
                for record in self._records(file):
                    is_closed = isinstance(record, Closed)
                    if isinstance(record, Opened):
                        boot_id = record.boot_id
                    elif not isinstance(record, Closed):
                        yield record
        except (OSError, msgspec.MsgspecError, ValueError):
            return
        is_same_boot = bool(self._boot_id) and boot_id == self._boot_id
        self.is_complete = is_closed or is_same_boot

    @staticmethod
    def _records(file: BinaryIO) -> Iterator[_Record]:
        """Yield the records.

        Raises:
            ValueError: It is torn.
        """
        while head := file.read(_HEAD.size):
            if len(head) != _HEAD.size:
                raise ValueError("a torn head")
            length, crc = _HEAD.unpack(head)
            body = file.read(min(length, _RECORD_BYTES_MAX))
            if len(body) != length or crc32c.crc32c(body) != crc:
                raise ValueError("a torn record")
            yield _decoder.decode(body)

    def start(self, rows: Iterable[Put], *, wasted: int) -> None:
        """Go on writing, once all was read: to the file as it is, or to a new one.

        Args:
            rows: What goes into a new one.
            wasted: How many of its records no longer count.
        """
        self._wasted = wasted
        if not self.is_complete or wasted > _WASTE_MIN:
            self.rewrite(rows)
            return
        with self._lock, contextlib.suppress(OSError):
            self._file = self._path.open("ab", buffering=0)
            self._file.write(_encode(Opened(self._boot_id)))

    @property
    def wants_rewriting(self) -> bool:
        """Most of it no longer counts, or it could not be written to."""
        return self._file is None or self._wasted > _WASTE_MIN

    def put(self, known: EditionFile, stored_bytes: int) -> None:
        """Write what an entry is now."""
        self._wasted += 1
        self._append(_encode(Put(known, stored_bytes)))

    def drop(self, edition_id: str) -> None:
        """Write that an entry left."""
        self._wasted += 2
        self._append(_encode(Dropped(edition_id)))

    def _append(self, data: bytes) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                written = self._file.write(data)
            except OSError:
                written = 0
            if written != len(data):
                # A file that lacks a record would be believed; one that is gone is made anew.
                self._close()
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def rewrite(self, rows: Iterable[Put], *, is_closing: bool = False) -> None:
        """Write the file anew, with these rows; where there is no room for it, there is none."""
        temporary = self._path.with_name("catalog.new")
        with self._lock:
            self._close()
            try:
                with temporary.open("wb") as file:
                    file.write(_encode(Opened(self._boot_id)))
                    file.writelines(map(_encode, rows))
                    if is_closing:
                        file.write(_encode(Closed()))
                        file.flush()
                        os.fsync(file.fileno())
                temporary.replace(self._path)
                self._wasted = 0
                if not is_closing:
                    self._file = self._path.open("ab", buffering=0)
            except OSError:
                for path in (temporary, self._path):
                    with contextlib.suppress(OSError):
                        path.unlink()

    def settle(self) -> None:
        """Wait until the disk has what was written."""
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def abandon(self) -> None:
        """Close the file as a kill does."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
