"""The store of editions: what the disk and the memory implementation promise.

All methods may be called from any thread and may wait for a disk; services call them in
threads. `tests/contract/block_store.py` is the same text as tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.wire.ciphers.data_keys import DataKey
from damselfly.wire.codecs.codec import BlockCodec
from damselfly.wire.packed_block import PackedHeader


@dataclass(frozen=True, slots=True)
class SendableBlock:
    """Where the body of one block lies, so that the kernel can send it.

    Attributes:
        file: Open for reading as long as the entry is; shared, so use offsets, never seek.
        offset: First byte of the body in the file.
        header: What the body is: plain bytes, or compressed or encrypted ones.
        body_crc32c: CRC-32C of the body.
    """

    file: BinaryIO
    offset: int
    header: PackedHeader
    body_crc32c: int


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """A verified block to be stored.

    Attributes:
        block_index: The block.
        body: How it shall lie: its plain bytes or, in a packed edition, what `header` says.
        digest: BLAKE3 of the plain bytes.
        body_crc32c: CRC-32C of the body.
        header: What the body is; None: the plain bytes.
        plain: The plain bytes of a body that is none, for who reads them at once; copied.
    """

    block_index: int
    body: bytes | bytearray | memoryview
    digest: bytes
    body_crc32c: int
    header: PackedHeader | None = None
    plain: bytes | bytearray | memoryview | None = None


class StoredEdition(Protocol):
    """One edition in the store.

    Attributes:
        edition: What it is; its size appears when it becomes known.
        is_sealed: All blocks are held and the whole has been checked.
        validated_wall_s: When the source last confirmed this edition; 0 is never.
        used_wall_s: When somebody last used it.
        is_public: Its source gave it to somebody who showed no credentials.
        data_key: What opens its blocks; None when it is not encrypted or `is_locked`.
        is_kept: The operator wants it kept: it is not evicted.
        is_imported: It was put in from a file: there is no source to ask.
        import_url: By which, if that names its task together with the tag.
        import_tag: See there.
        is_elsewhere: Others in the swarm hold it, too, as far as is known; evicted sooner.
        stored_bytes: What it occupies.
    """

    edition: Edition
    is_sealed: bool
    is_public: bool
    data_key: DataKey | None
    is_kept: bool
    is_imported: bool
    import_url: str
    import_tag: str
    is_elsewhere: bool
    stored_bytes: int
    validated_wall_s: float
    used_wall_s: float

    @property
    def content_path(self) -> str:
        """The file that holds the content in plain, empty when there is none."""

    @property
    def held(self) -> BlockSet:
        """A copy of the set of blocks that are stored and verified."""

    @property
    def is_pinned(self) -> bool:
        """Somebody uses it."""

    @property
    def is_locked(self) -> bool:
        """It is encrypted, and its data key is not here: blocks can be sent, and not read."""

    def unlock(self, key: DataKey) -> None:
        """Give it the data key, which is kept in memory and nowhere else."""

    def digest_of(self, block_index: int) -> bytes | None:
        """Return the BLAKE3 digest of a held block, None of a missing one."""

    def write_block(self, block: HeldBlock) -> None:
        """Store a verified block; storing it again changes nothing.

        Only an entry whose edition `is_packed` takes other bodies than plain ones.

        Raises:
            StorageFullError: There is no room. The entry is dropped, nothing half stays.
        """

    def set_size(self, size_bytes: int) -> None:
        """Record the length of a source that did not tell it at first."""

    def mark_validated(self, wall_s: float) -> None:
        """Record that the source confirmed this edition."""

    def mark_public(self) -> None:
        """Record that the source gave it to somebody who showed no credentials.

        Of an edition that is not sealed, the record is kept once something else of it is.
        """

    def seal(self, digest: Digest | None) -> None:
        """Record that all is held and checked; `digest` is that of the whole, if known."""

    def read_span(self, span: Span) -> bytes:
        """Return plain bytes of held blocks.

        Raises:
            StorageDamagedError: The disk no longer has them, or nobody here can decode them.
        """

    def sendable(self, block_index: int) -> SendableBlock | None:
        """Return where a held block lies, None when it is not held or no longer right."""

    def begin_plain(self) -> None:
        """Lay blocks in plain, too, as they come, for who will want the content as a file.

        The entry is pinned; nothing of it lasts beyond the last pin.
        """

    def take_plain(self) -> str:
        """Return a file with the whole in plain for one who links or copies it, then unpins.

        Empty: there is none, and the content is to be read. Only of a sealed entry that is pinned.

        Raises:
            StorageDamagedError: The disk no longer has it.
        """

    def place(self, path: str) -> str:
        """Put the whole content at `path`, which must not exist, and return how.

        How is `reflink`, `link`, `copy`. The caller renames it to its final name.

        Raises:
            OutputError: It cannot be written there.
        """

    def keep(self, *, is_kept: bool) -> None:
        """Record whether the operator wants it kept."""

    def mark_imported(self, url: str = "", tag: str = "") -> None:
        """Record that it was put in from a file: it is public, and no source is asked about it.

        Args:
            url: By which, without secrets, if that names its task together with the tag.
            tag: See there.
        """

    def is_block_right(self, block_index: int) -> bool:
        """Read a block again, and say whether it is what it was; True of one that is not held."""

    def forget_block(self, block_index: int) -> bool:
        """Count a held block as missing, and the entry as not sealed, if nobody has it pinned.

        Returns:
            Whether that was done.
        """

    def pin(self) -> None:
        """Keep the entry from eviction until `unpin`; pins count."""

    def unpin(self) -> None:
        """Take one pin away."""


class BlockStore(Protocol):
    """A folder, or a memory, full of editions.

    Attributes:
        codecs: With which bodies of packed blocks are decoded.
    """

    codecs: dict[int, BlockCodec]

    def put_aside(self, codec: int) -> None:
        """Use a codec no more in this process: it failed."""

    def open(self, edition: Edition) -> StoredEdition:
        """Return the entry of an edition, new if need be, pinned once.

        Raises:
            StorageFullError: It cannot fit even when everything idle is evicted.
        """

    def find(self, edition_id: EditionId) -> StoredEdition | None:
        """Return the entry of an edition, if there is one."""

    def editions_of(self, task_id: TaskId) -> Sequence[StoredEdition]:
        """Return the entries of a task, the last validated first."""

    def entries(self) -> Sequence[StoredEdition]:
        """Return all entries."""

    def count(self) -> int:
        """Return how many entries there are."""

    def drop(self, entry: StoredEdition) -> None:
        """Remove an entry and its bytes."""

    def used_bytes(self) -> int:
        """Return what all entries occupy."""

    def settle(self) -> None:
        """Wait until all that is sealed will outlive a crash of the machine; may take long."""

    def close(self) -> None:
        """Write what is not written, and give the folder free."""
