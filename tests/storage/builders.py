"""Editions, blocks and stores with readable defaults; every content is made up from a seed."""

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import blake3
import crc32c

from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.storage.disk import DiskStore
from damselfly.storage.disk_entry import DiskEntry
from damselfly.storage.store import HeldBlock, StoredEdition
from damselfly.wire.codecs.byte_planes import two_byte_planes
from damselfly.wire.codecs.codec import BlockCodec
from damselfly.wire.codecs.zstd import ZstdCodec

BLOCK_BYTES = 1000
CONTENT_BYTES = 2500  # three blocks, the last one short
CODECS: dict[int, BlockCodec] = {1: ZstdCodec(), 2: two_byte_planes()}


@dataclass
class Usually:
    """What builders do when a test does not say.

    Attributes:
        is_packed: Editions are packed.
    """

    is_packed: bool = False


USUALLY = Usually()


class HandClock:
    """Seconds since 1970 that pass when a test says so."""

    def __init__(self) -> None:
        self.wall_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.wall_s

    def tick(self) -> None:
        self.wall_s += 1


def a_content(size_bytes: int = CONTENT_BYTES, *, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def an_edition(
    name: int = 1,
    *,
    task: int = 1,
    size_bytes: int | None = CONTENT_BYTES,
    block_bytes: int = BLOCK_BYTES,
    is_packed: bool | None = None,
) -> Edition:
    return Edition(
        edition_id=EditionId(f"{name:032x}"),
        task_id=TaskId(f"{task:064x}"),
        block_bytes=block_bytes,
        size_bytes=size_bytes,
        is_packed=USUALLY.is_packed if is_packed is None else is_packed,
    )


def a_block(content: bytes, block_index: int, *, block_bytes: int = BLOCK_BYTES) -> HeldBlock:
    body = content[block_index * block_bytes : (block_index + 1) * block_bytes]
    return HeldBlock(block_index, body, blake3.blake3(body).digest(), crc32c.crc32c(body))


def fill(entry: StoredEdition, content: bytes, *, but: tuple[int, ...] = ()) -> None:
    """Write all blocks of a content, or all but some."""
    block_bytes = entry.edition.block_bytes
    for block_index in range(-(-len(content) // block_bytes)):
        if block_index not in but:
            entry.write_block(a_block(content, block_index, block_bytes=block_bytes))


def seal(entry: StoredEdition, content: bytes) -> None:
    fill(entry, content)
    entry.seal(None)


@contextmanager
def a_disk_store(
    root: Path,
    *,
    quota_bytes: int = 0,
    reserve_bytes: int = 0,
    boot_id: str = "boot-1",
    clock: Callable[[], float] | None = None,
) -> Iterator[DiskStore]:
    store = DiskStore(
        root,
        quota_bytes=quota_bytes,
        reserve_bytes=reserve_bytes,
        boot_id=boot_id,
        now_wall_s=clock or HandClock(),
        codecs=dict(CODECS),
    )
    try:
        yield store
    finally:
        store.close()


@contextmanager
def a_killed_store(root: Path, *, boot_id: str = "boot-1") -> Iterator[DiskStore]:
    """Give a store that ends as by SIGKILL: files closed by the kernel, nothing written."""
    store = DiskStore(root, boot_id=boot_id, now_wall_s=HandClock())
    yield store
    store.abandon()


def folder_of(store_root: Path, edition: Edition) -> Path:
    """Return where the documentation says that an entry lies."""
    task_id = edition.task_id
    return store_root / "editions" / task_id[:2] / task_id / edition.edition_id


def found(store: DiskStore, edition: Edition) -> DiskEntry:
    """Return the entry of an edition that must be there."""
    entry = store.find(edition.edition_id)
    assert entry is not None
    return entry


@contextmanager
def files_no_longer_than(count: int) -> Iterator[None]:
    """Let the kernel refuse to make a file longer, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
