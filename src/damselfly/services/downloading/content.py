"""A content that is read while it comes: verified bytes, in the order of the file.

A reader gets each stretch of bytes as soon as its block is stored; nobody waits for the end.
One thing is held back: of a content whose whole digest is known, the last block comes when
the whole has been checked. So a content that is not what it promised never gets out whole.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from damselfly.core.blocks import Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, TaskSpec
from damselfly.errors import DamselflyError, SourceChangedError, StorageDamagedError
from damselfly.services.downloading.download_run import DownloadRun
from damselfly.storage.store import StoredEdition
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.packed_block import is_plain

_readers: Final = itertools.count()
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)  # Linux has it
PIECE_BYTES: Final = 64 << 10  # what a processor's cache holds until the requester has read it
WAITED_BYTES: Final = 1 << 20  # 16 pieces to a thread's turn; a disk reads as much ahead


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a content that can be read, or sent by the kernel.

    Attributes:
        file: Open as long as the content is; shared, so use offsets, never seek. None: the
            bytes lie packed, and there is only `read`.
        offset: First byte in the file, or in the content.
        count: How many.
        entry: Where they lie packed.
    """

    file: BinaryIO | None
    offset: int
    count: int
    entry: StoredEdition | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            StorageDamagedError: The disk no longer has them.
        """
        if self.file is None:
            assert self.entry is not None
            return self.entry.read_span(Span(self.offset, self.offset + self.count))
        data = os.pread(self.file.fileno(), self.count, self.offset)
        if len(data) != self.count:
            raise StorageDamagedError(path=self.file.name, what="it is shorter than it was")
        return data

    async def bodies(self) -> AsyncIterator[Buffer]:
        """Yield the bytes in pieces.

        Those that must be waited for are read in threads, much at a time: each handing over takes
        longer than to copy a piece, and tmpfs, for one, cannot say what it has in memory.
        """
        start = 0
        while start < self.count:
            if (data := self._part(start, PIECE_BYTES).read_if_cached()) is not None:
                start += len(data)
                yield data
                continue
            waited = memoryview(await asyncio.to_thread(self._part(start, WAITED_BYTES).read))
            start += len(waited)
            for first in range(0, len(waited), PIECE_BYTES):
                yield waited[first : first + PIECE_BYTES]

    def read_if_cached(self) -> bytearray | None:
        """Return the bytes, None if that would mean to wait for the disk or to decode them."""
        if self.file is None:
            return None
        data = bytearray(self.count)
        try:
            count = os.preadv(self.file.fileno(), [data], self.offset, _NOWAIT)
        except OSError:
            return None  # not in memory, or a file system that does not know
        return data if count == self.count else None

    def _part(self, start: int, bytes_max: int) -> "Stretch":
        """Return a part; of what lies packed the whole, as its block must be opened once."""
        if self.file is None:
            return self
        count = min(bytes_max, self.count - start)
        return replace(self, offset=self.offset + start, count=count)


class Content:
    """A content that is there, or on its way; see `Downloads.read`.

    Attributes:
        spec: What was asked for.
        edition: The version of it; its size appears when it becomes known.
    """

    def __init__(self, spec: TaskSpec, entry: StoredEdition, run: DownloadRun | None) -> None:
        self.spec = spec
        self._entry = entry
        self._run = run

    @property
    def edition(self) -> Edition:
        """The version that is read."""
        return self._entry.edition

    @property
    def content_path(self) -> str:
        """The file in which it lies in plain, as far as it is here; empty: there is none."""
        return self._entry.content_path

    @property
    def size_bytes(self) -> int | None:
        """Length; None while the source has not told it."""
        return self._entry.edition.size_bytes

    @property
    def digest(self) -> Digest | None:
        """What the whole hashes to, if that was asked for or is known."""
        return self.spec.digest or self._entry.edition.digest

    @property
    def bytes_by(self) -> ProviderBytes:
        """What is here by now, by where it came from."""
        if self._run is not None:
            return self._run.tally.bytes_by
        return ProviderBytes(cache=self.size_bytes or 0)

    @property
    def is_whole(self) -> bool:
        """All of it is here, and what was promised."""
        if self._run is None:
            return True
        outcome = self._run.outcome
        return outcome.done() and not outcome.cancelled() and outcome.exception() is None

    @property
    def is_stale(self) -> bool:
        """The source could not be asked whether this is still its content."""
        return self._run is not None and self._run.tally.is_stale

    async def stretches(
        self, start_byte: int = 0, stop_byte: int | None = None
    ) -> AsyncGenerator[Stretch, None]:
        """Yield the bytes `start_byte <= x < stop_byte`, in order, each as soon as it is here.

        Args:
            start_byte: The first byte; of a content of known size, not beyond its end.
            stop_byte: One past the last; None is to the end.

        Raises:
            DamselflyError: There will be no more: what came before is not the whole.
        """
        reader, position = next(_readers), start_byte
        try:
            while stop_byte is None or position < stop_byte:
                stretch = self._at(position)
                if stretch is None:
                    if self._is_ended(position):
                        return
                    assert self._run is not None
                    self._run.read_along(reader, position // self.edition.block_bytes)
                    await self._run.news.wait()
                    continue
                if stop_byte is not None and stretch.count > stop_byte - position:
                    stretch = replace(stretch, count=stop_byte - position)
                position += stretch.count
                yield stretch
        finally:
            if self._run is not None:
                self._run.read_along(reader, None)

    async def read_all(self, *, bytes_max: int) -> bytes:
        """Return a short content whole.

        Raises:
            DamselflyError: It cannot be had whole, or is longer than `bytes_max`.
        """
        parts: list[bytes] = []
        count = 0
        async for stretch in self.stretches():
            count += stretch.count
            if count > bytes_max:
                raise DamselflyError(f"{self.spec.display_url} is longer than {bytes_max} bytes")
            parts.append(await asyncio.to_thread(stretch.read))
        return b"".join(parts)

    def _at(self, position: int) -> Stretch | None:
        """Return what can be read from there to the end of the block, None if nothing can."""
        self._check_run()
        block_index, skipped = divmod(position, self.edition.block_bytes)
        if not self._may_leave(block_index):
            return None
        block = self._entry.sendable(block_index)
        if block is None:
            raise StorageDamagedError(path=self.spec.display_url, what="it left the cache")
        if skipped >= block.header.plain_bytes:
            return None
        count = block.header.plain_bytes - skipped
        if is_plain(block.header):
            return Stretch(block.file, block.offset + skipped, count)
        return Stretch(None, position, count, self._entry)

    def _check_run(self) -> None:
        run = self._run
        if run is None:
            return
        if run.outcome.cancelled():
            raise DamselflyError("the download was ended while it was read")
        if run.outcome.done() and (error := run.outcome.exception()) is not None:
            raise error
        if run.entry is not self._entry:
            raise SourceChangedError(
                url=self.spec.display_url, promised="one content", came="another one"
            )

    def _may_leave(self, block_index: int) -> bool:
        """Say whether a block is held, and not kept back until the whole has been checked."""
        if self._run is None or self._run.opened is None:
            return block_index in self._entry.held
        held = self._run.opened.readable
        if block_index not in held:
            return False
        if self._is_checked:
            return True
        if self.size_bytes is None:  # the last one that came may be the last one of all
            return block_index + 1 in held
        return block_index + 1 < self.edition.layout.block_count

    @property
    def _is_checked(self) -> bool:
        """The whole is what was promised, or nothing was."""
        return self._run is None or self._run.is_checked or self.digest is None

    def _is_ended(self, position: int) -> bool:
        return self._is_checked and self.size_bytes is not None and position >= self.size_bytes
