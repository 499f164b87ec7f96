"""One block from a parent into the store, verified on the way."""

import asyncio
from dataclasses import dataclass
from functools import partial

from damselfly.clock import now_s, thread_cpu_s
from damselfly.core.downloading.events import Failure, FetchFailed
from damselfly.core.peer import HostId
from damselfly.errors import (
    BlockCorruptError,
    BlockMissingError,
    ParentBusyError,
    ParentError,
    ParentStalledError,
    PluginError,
    RemoteProtocolError,
)
from damselfly.services.downloading.download_parts import DownloadParts
from damselfly.services.downloading.early_frames import EarlyFrames
from damselfly.services.seeding.pacing import Pace
from damselfly.services.seeding.reading import Limit
from damselfly.services.seeding.storing import store_answer
from damselfly.services.seeding.whole_hasher import WholeHasher
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.transport.block_connection import BlockAnswer
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.packed_block import CODEC_IDENTITY, PackedHeader, frame_bytes_max, is_plain
from damselfly.wire.packing import Packed, unpack

log = get_log()


@dataclass(slots=True)
class Saved:
    """What compression did for a download.

    Attributes:
        wire_bytes: So much less came over the wire than was stored.
        cpu_s: Seconds of CPU that taking in compressed blocks took.
    """

    wire_bytes: int = 0
    cpu_s: float = 0.0


class BlockFetcher:
    """Fetches the blocks of one edition.

    Attributes:
        saved: What compression saved so far.

    Args:
        parts: Of its host.
        entry: Where blocks go.
        throttle: The download's own limit.
    """

    def __init__(
        self,
        parts: DownloadParts,
        entry: StoredEdition,
        *,
        throttle: Limit,
    ) -> None:
        self._parts = parts
        self._entry = entry
        self._throttle = throttle
        self.saved = Saved()
        self._early = EarlyFrames(parts.frames)

    async def fetch(
        self, block_index: int, host_id: HostId, *, address: str, expected: bytes
    ) -> int:
        """Fetch a block, verify it, store it; return its length.

        Args:
            block_index: The block.
            host_id: The parent.
            address: Its `host:port`.
            expected: The digest that the SuperNode told.

        Raises:
            ParentError: The parent did not give it.
            StorageError: It cannot be stored.
        """
        length = self._length_of(block_index)
        await self._throttle.take(length)
        await self._parts.throttle.take(length)
        edition = self._entry.edition
        longest = frame_bytes_max(edition.block_bytes, is_packed=edition.is_packed)
        buffer = await self._parts.frames.take(longest)
        started_s = now_s()
        outcome, is_kept = "failed", False
        try:
            frame_bytes = frame_bytes_max(length, is_packed=edition.is_packed)
            frame = buffer[:frame_bytes]
            answer = await self._parts.connections.fetch(
                *(address, edition.edition_id, block_index, frame),
                parent=host_id,
                held_count=len(self._entry.held),
                is_preheat=isinstance(self._throttle, Pace) and not self._throttle.is_lifted,
                codecs=self._parts.codecs,
                ciphers=(edition.cipher,) if edition.cipher else (),
            )
            plain = await self._let_in(block_index, host_id, answer, expected)
            outcome = "stored"
            is_kept = self._early.hash_soon(block_index, plain, _frame_of(answer, buffer))
        except ParentError as exc:
            outcome = failure_of(exc).value
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._parts.metrics.blocks_fetched.labels(outcome).inc()
            self._parts.metrics.block_fetch_seconds.observe(now_s() - started_s)
            if not is_kept:  # after a cancellation a thread may still read it
                self._parts.frames.give_back(buffer, is_reusable=outcome != "cancelled")
        return answer.header.plain_bytes

    def hash_along(self, hasher: WholeHasher) -> None:
        """Let blocks go through the hash of the whole from now on, while they are in memory."""
        self._early.hasher = hasher

    def stop_hashing(self) -> None:
        """Keep no frame for it any more."""
        self._early.let_go()

    def _length_of(self, block_index: int) -> int:
        """Return the longest that a block can be; its length, once the size is known."""
        edition = self._entry.edition
        if edition.size_bytes is None:
            return edition.block_bytes
        return len(edition.layout.span(block_index))

    async def _let_in(
        self,
        block_index: int,
        host_id: HostId,
        answer: BlockAnswer,
        expected: bytes,
    ) -> memoryview:
        """Verify a block and store it; return its plain bytes."""
        header = answer.header
        length, plain_bytes = self._length_of(block_index), header.plain_bytes
        is_of_known_size = self._entry.edition.size_bytes is not None
        if plain_bytes > length or (is_of_known_size and plain_bytes != length):
            reason = f"it has {plain_bytes} bytes instead of {length}"
            raise BlockCorruptError(parent=host_id, block_index=block_index, reason=reason)
        store = partial(store_answer, self._entry, answer, expected=expected, unpack=self._unpack)
        try:
            plain = await self._parts.storing.run(store, length=length, is_plain=is_plain(header))
        except RemoteProtocolError as exc:
            raise BlockCorruptError(
                parent=host_id, block_index=block_index, reason=str(exc)
            ) from exc
        except PluginError as exc:
            if not header.codec or header.cipher:
                raise
            # No fault of the parent: the block is asked for again, which now comes in plain.
            log.warning("codec_put_aside", codec=header.codec, reason=str(exc))
            self._parts.store.put_aside(header.codec)
            raise ParentBusyError(parent=host_id, retry_after_s=0.0) from exc
        self._count_saved(header)
        return plain

    def _unpack(self, packed: Packed) -> Buffer:
        """Return the plain bytes of a block, and count what decoding it costs."""
        header, key = packed.header, self._entry.data_key
        if header.codec == CODEC_IDENTITY:
            return unpack(header, packed.body, codecs=self._parts.codecs, key=key)
        cpu_s = thread_cpu_s()
        plain = unpack(header, packed.body, codecs=self._parts.codecs, key=key)
        used_s = thread_cpu_s() - cpu_s
        self.saved.cpu_s += used_s
        self._parts.metrics.codec_cpu_seconds.labels("decode").inc(used_s)
        return plain

    def _count_saved(self, header: PackedHeader) -> None:
        if header.codec != CODEC_IDENTITY:
            saved_bytes = max(header.plain_bytes - header.body_bytes, 0)
            self.saved.wire_bytes += saved_bytes
            self._parts.metrics.bytes_saved.inc(saved_bytes)


def _frame_of(answer: BlockAnswer, buffer: memoryview) -> memoryview | None:
    """Return the frame in which a block lies in plain; None: its bytes have memory of their own."""
    return buffer if is_plain(answer.header) else None


def failed_fetch(block_index: int, host_id: HostId, exc: ParentError) -> FetchFailed:
    """Return a failed fetch as the mind of the download is told it."""
    return FetchFailed(
        block_index=block_index,
        host_id=host_id,
        failure=failure_of(exc),
        retry_after_s=getattr(exc, "retry_after_s", 0.0),
    )


def failure_of(exc: ParentError) -> Failure:
    """Return an error of a parent as the mind of the download knows it."""
    match exc:
        case ParentBusyError():
            return Failure.BUSY
        case BlockMissingError():
            return Failure.MISSING
        case BlockCorruptError():
            return Failure.CORRUPT
        case ParentStalledError():
            return Failure.STALLED
        case _:
            return Failure.UNREACHABLE
