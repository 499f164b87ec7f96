"""What every store promises, as tests: `storage/store.py` in other words.

A test class inherits `BlockStoreContract` and gives a fixture `store` with a quota of
`QUOTA_BYTES`.
"""

import os
from pathlib import Path

import blake3
import crc32c
import pytest

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, EditionId, TaskId, Validators
from damselfly.errors import OutputError, StorageFullError
from damselfly.storage.store import BlockStore, HeldBlock, StoredEdition

BLOCK_BYTES = 1000
QUOTA_BYTES = 10_000


def an_edition(number: int = 1, *, size_bytes: int | None = 2500, task: int = 1) -> Edition:
    return Edition(
        edition_id=EditionId(f"{number:032x}"),
        task_id=TaskId(f"{task:064x}"),
        block_bytes=BLOCK_BYTES,
        size_bytes=size_bytes,
        validators=Validators(etag='"v1"'),
        display_url="http://example.com/f",
    )


def a_block(index: int, size: int = BLOCK_BYTES) -> HeldBlock:
    body = bytes([index % 256]) * size
    return HeldBlock(index, body, blake3.blake3(body).digest(), crc32c.crc32c(body))


def fill(entry: StoredEdition, *, is_sealed: bool = True) -> bytes:
    """Write all blocks of an entry and return the content."""
    layout = entry.edition.layout
    blocks = [a_block(index, len(layout.span(index))) for index in range(layout.block_count)]
    for block in blocks:
        entry.write_block(block)
    if is_sealed:
        entry.seal(None)
    return b"".join(bytes(block.body) for block in blocks)


class BlockStoreContract:
    def test_block_that_was_written_is_held_and_read(self, store: BlockStore) -> None:
        entry = store.open(an_edition())

        entry.write_block(a_block(2, 500))
        entry.write_block(a_block(2, 500))

        assert entry.held == BlockSet.of([2])
        assert entry.digest_of(2) == a_block(2, 500).digest
        assert entry.digest_of(0) is None
        assert entry.read_span(Span(2000, 2500)) == b"\2" * 500
        assert store.used_bytes() == 500

    def test_block_is_sent_from_where_it_lies(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        entry.write_block(a_block(1))

        block = entry.sendable(1)

        assert block is not None
        assert os.pread(block.file.fileno(), block.plain_bytes, block.offset) == b"\1" * 1000
        assert block.body_crc32c == a_block(1).body_crc32c
        assert entry.sendable(0) is None

    def test_whole_is_placed_where_nothing_is_yet(self, store: BlockStore, tmp_path: Path) -> None:
        entry = store.open(an_edition())
        content = fill(entry)

        how = entry.place(str(tmp_path / "out"))

        assert how in ("reflink", "link", "copy")
        assert (tmp_path / "out").read_bytes() == content
        with pytest.raises(OutputError):
            entry.place(str(tmp_path / "no-folder" / "out"))

    def test_length_may_become_known_at_the_end(self, store: BlockStore) -> None:
        entry = store.open(an_edition(size_bytes=None))
        entry.write_block(a_block(0))
        entry.write_block(a_block(1, 7))

        entry.set_size(1007)
        entry.seal(Digest.parse("sha256:" + "0" * 64))

        assert entry.is_sealed
        assert entry.edition.size_bytes == 1007
        assert entry.edition.digest == Digest.parse("sha256:" + "0" * 64)

    def test_same_edition_is_one_entry(self, store: BlockStore) -> None:
        first = store.open(an_edition())
        second = store.open(an_edition())

        assert first is second is store.find(an_edition().edition_id)
        assert store.find(an_edition(2).edition_id) is None
        assert list(store.entries()) == [first]

    def test_editions_of_a_task_come_youngest_first(self, store: BlockStore) -> None:
        old, new = store.open(an_edition(1)), store.open(an_edition(2))
        store.open(an_edition(3, task=2))
        old.mark_validated(10.0)
        new.mark_validated(20.0)

        assert list(store.editions_of(an_edition().task_id)) == [new, old]

    def test_forgotten_block_is_missing_and_can_come_again(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        fill(entry)

        entry.forget_blocks(BlockSet.of([1]))
        entry.write_block(a_block(1))

        assert not entry.is_sealed
        assert entry.held == BlockSet.full(3)

    def test_dropped_entry_is_gone(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        fill(entry)

        store.drop(entry)
        entry.unpin()

        assert store.find(an_edition().edition_id) is None
        assert store.used_bytes() == 0

    def test_idle_entry_leaves_for_a_new_one(self, store: BlockStore) -> None:
        idle = store.open(an_edition(1, size_bytes=6000))
        fill(idle)
        idle.unpin()

        entry = store.open(an_edition(2, size_bytes=6000))
        fill(entry)

        assert list(store.entries()) == [entry]

    def test_entry_in_use_never_leaves(self, store: BlockStore) -> None:
        fill(store.open(an_edition(1, size_bytes=6000)))

        with pytest.raises(StorageFullError):
            store.open(an_edition(2, size_bytes=6000))

        assert [entry.edition for entry in store.entries()] == [an_edition(1, size_bytes=6000)]

    def test_content_beyond_the_quota_is_refused_at_once(self, store: BlockStore) -> None:
        with pytest.raises(StorageFullError) as caught:
            store.open(an_edition(size_bytes=QUOTA_BYTES + 1))

        assert caught.value.needed_bytes == QUOTA_BYTES + 1
        assert list(store.entries()) == []

    def test_content_of_unknown_length_that_grows_too_long_is_dropped(
        self, store: BlockStore
    ) -> None:
        entry = store.open(an_edition(size_bytes=None))
        for index in range(10):
            entry.write_block(a_block(index))

        with pytest.raises(StorageFullError):
            entry.write_block(a_block(10))
        entry.unpin()

        assert list(store.entries()) == []
        assert store.used_bytes() == 0
