"""What every store promises; each implementation runs this whole class as its own tests.

A subclass has the fixture `make_store`, which makes stores and closes them after the test.
What leaves when there is no room is in block_room.py.
"""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blake3
import pytest

from contract.block_room import BlockRoomContract, MakeStore
from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import Digest
from damselfly.errors import OutputError, StorageDamagedError
from damselfly.storage.store import BlockStore, HeldBlock, SendableBlock, StoredEdition
from storage.builders import (
    BLOCK_BYTES,
    CONTENT_BYTES,
    HandClock,
    a_block,
    a_content,
    an_edition,
    fill,
    seal,
)


def sent_by_kernel(block: SendableBlock) -> bytes:
    """Return what `sendfile` reads of a block; it must fit into a socket's buffer."""
    giver, taker = socket.socketpair()
    with giver, taker:
        count = os.sendfile(
            giver.fileno(), block.file.fileno(), block.offset, block.header.body_bytes
        )
        assert count == block.header.body_bytes
        return taker.recv(count + 1)


def spoil(entry: StoredEdition, block_index: int) -> None:
    """Turn a bit of a held block around, as an old disk does."""
    block = entry.sendable(block_index)
    assert block is not None
    (byte,) = os.pread(block.file.fileno(), 1, block.offset)
    os.pwrite(block.file.fileno(), bytes([byte ^ 1]), block.offset)


class BlockStoreContract(BlockRoomContract):
    """The contract of storage/store.py as tests."""

    @pytest.fixture
    def store(self, make_store: MakeStore) -> BlockStore:
        return make_store()

    # --- blocks

    def test_a_new_entry_holds_nothing(self, store: BlockStore) -> None:
        edition = an_edition()

        entry = store.open(edition)

        assert entry.edition == edition
        assert not entry.is_sealed
        assert entry.validated_wall_s == 0
        assert entry.held == BlockSet()
        assert entry.digest_of(0) is None
        assert entry.sendable(0) is None
        assert store.used_bytes() == 0

    def test_a_written_block_is_held(self, store: BlockStore) -> None:
        content = a_content()
        block = a_block(content, 1)
        entry = store.open(an_edition())

        entry.write_block(block)

        assert entry.held == BlockSet.of([1])
        assert entry.digest_of(1) == block.digest
        assert entry.digest_of(0) is None
        assert entry.read_span(Span(1000, 2000)) == content[1000:2000]
        assert entry.sendable(0) is None
        assert store.used_bytes() == BLOCK_BYTES

    def test_blocks_may_come_in_any_order(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())

        for block_index in (2, 0, 1):
            entry.write_block(a_block(content, block_index))

        assert entry.held == BlockSet.full(3)
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content
        assert store.used_bytes() == CONTENT_BYTES

    def test_a_span_may_cross_blocks(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        fill(entry, content)

        assert entry.read_span(Span(900, 2300)) == content[900:2300]
        assert entry.read_span(Span(700, 700)) == b""

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_a_body_may_be_any_buffer(
        self, store: BlockStore, kind: type[bytes] | type[bytearray] | type[memoryview]
    ) -> None:
        block = a_block(a_content(), 0)
        entry = store.open(an_edition())

        entry.write_block(HeldBlock(0, kind(block.body), block.digest, block.body_crc32c))

        assert entry.read_span(Span(0, BLOCK_BYTES)) == block.body

    def test_a_block_written_again_changes_nothing(self, store: BlockStore) -> None:
        block = a_block(a_content(), 0)
        entry = store.open(an_edition())
        entry.write_block(block)

        entry.write_block(HeldBlock(0, b"other bytes", b"o" * 32, 7))

        assert entry.read_span(Span(0, BLOCK_BYTES)) == block.body
        assert entry.digest_of(0) == block.digest
        assert store.used_bytes() == BLOCK_BYTES

    def test_held_is_a_copy(self, store: BlockStore) -> None:
        entry = store.open(an_edition())

        entry.held.add(0)

        assert entry.held == BlockSet()

    def test_reading_beyond_the_end_says_that_it_is_damaged(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        fill(entry, a_content())

        with pytest.raises(StorageDamagedError):
            entry.read_span(Span(2000, CONTENT_BYTES + 1))

    def test_a_content_without_bytes_is_whole_at_once(
        self, store: BlockStore, tmp_path: Path
    ) -> None:
        entry = store.open(an_edition(size_bytes=0))

        entry.seal(None)
        entry.place(str(tmp_path / "empty"))

        assert entry.is_sealed
        assert entry.read_span(Span(0, 0)) == b""
        assert (tmp_path / "empty").read_bytes() == b""

    # --- care

    def test_a_block_is_right_until_its_bytes_are_not(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        fill(entry, a_content(), but=(2,))

        assert entry.is_block_right(0)
        assert entry.is_block_right(2)  # not held, so not wrong
        spoil(entry, 1)
        assert not entry.is_block_right(1)

    def test_a_forgotten_block_is_missing_and_can_be_written_again(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        seal(entry, content)
        assert not entry.forget_block(1)  # somebody may be sending it
        entry.unpin()

        assert entry.forget_block(1)

        assert not entry.forget_block(1)
        assert entry.held == BlockSet.of([0, 2])
        assert not entry.is_sealed
        assert store.used_bytes() == CONTENT_BYTES - BLOCK_BYTES
        entry.pin()
        fill(entry, content)
        entry.seal(None)
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content

    def test_an_imported_content_is_public(self, store: BlockStore) -> None:
        entry = store.open(an_edition())

        entry.mark_imported("https://h/f?v=1", "tag")

        assert entry.is_imported
        assert entry.is_public
        assert (entry.import_url, entry.import_tag) == ("https://h/f?v=1", "tag")

    # --- threads

    def test_many_threads_write_at_once(self, store: BlockStore) -> None:
        content = a_content(64 * BLOCK_BYTES)
        entry = store.open(an_edition(size_bytes=len(content)))
        # Each block comes from two threads, as when two parents were asked for the last one.
        blocks = [a_block(content, index) for index in (*range(64), *range(64))]

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(entry.write_block, blocks))

        assert entry.held == BlockSet.full(64)
        assert entry.read_span(Span(0, len(content))) == content
        assert store.used_bytes() == len(content)

    # --- sending

    def test_the_kernel_can_send_a_block(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        fill(entry, content)

        sendable = [entry.sendable(index) for index in range(3)]

        for index, block in enumerate(sendable):
            assert block is not None
            assert sent_by_kernel(block) == a_block(content, index).body
            assert block.body_crc32c == a_block(content, index).body_crc32c
        assert entry.sendable(3) is None

    def test_sending_leaves_a_shared_file_where_it_was(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        fill(entry, content)
        first, last = entry.sendable(0), entry.sendable(2)
        assert first is not None
        assert last is not None

        assert sent_by_kernel(last) == content[2000:]
        assert sent_by_kernel(first) == content[:1000]
        assert sent_by_kernel(last) == content[2000:]

    def test_a_block_that_is_being_sent_survives_its_drop(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        fill(entry, content)
        entry.pin()  # as an upload does
        block = entry.sendable(0)
        assert block is not None

        store.drop(entry)
        entry.unpin()

        assert sent_by_kernel(block) == content[:1000]
        entry.unpin()
        assert block.file.closed

    # --- a source that does not tell its length

    def test_a_length_can_come_last(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition(size_bytes=None))
        for block_index in (0, 1):
            entry.write_block(a_block(content, block_index))

        entry.set_size(CONTENT_BYTES)
        entry.write_block(a_block(content, 2))
        entry.seal(None)

        assert entry.edition.size_bytes == CONTENT_BYTES
        assert entry.edition.layout.block_count == 3
        assert entry.is_sealed
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content

    def test_the_same_length_may_be_told_twice(self, store: BlockStore) -> None:
        content = a_content()
        entry = store.open(an_edition())
        seal(entry, content)

        entry.set_size(CONTENT_BYTES)
        entry.unpin()

        assert store.find(entry.edition.edition_id) is entry
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content

    # --- sealing

    def test_a_sealed_entry_knows_its_digest(self, store: BlockStore) -> None:
        content = a_content()
        digest = Digest("blake3", blake3.blake3(content).hexdigest())
        entry = store.open(an_edition())
        fill(entry, content)

        entry.seal(digest)

        assert entry.is_sealed
        assert entry.edition.digest == digest

    def test_sealing_again_changes_nothing(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        seal(entry, a_content())

        entry.seal(None)

        assert entry.is_sealed
        assert entry.sendable(2) is not None

    # --- finding

    def test_opening_again_gives_the_same_entry(self, store: BlockStore) -> None:
        entry = store.open(an_edition())

        again = store.open(an_edition())

        assert again is entry
        assert store.find(an_edition().edition_id) is entry
        assert list(store.entries()) == [entry]

    def test_what_was_never_opened_is_not_found(self, store: BlockStore) -> None:
        store.open(an_edition(1))

        assert store.find(an_edition(2).edition_id) is None
        assert list(store.editions_of(an_edition(task=2).task_id)) == []

    def test_editions_of_a_task_come_last_validated_first(self, store: BlockStore) -> None:
        old, new, never = (store.open(an_edition(name)) for name in (1, 2, 3))
        store.open(an_edition(4, task=2))

        old.mark_validated(100.0)
        new.mark_validated(200.0)

        assert list(store.editions_of(old.edition.task_id)) == [new, old, never]
        assert new.validated_wall_s == 200.0

    def test_use_is_noted(self, store: BlockStore, clock: HandClock) -> None:
        entry = store.open(an_edition())
        clock.tick()

        store.find(entry.edition.edition_id)

        assert entry.used_wall_s == clock.wall_s

    # --- dropping

    def test_a_dropped_entry_is_gone(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        seal(entry, a_content())
        entry.unpin()

        store.drop(entry)
        store.drop(entry)  # by a second thread that found the same fault

        assert store.find(entry.edition.edition_id) is None
        assert list(store.entries()) == []
        assert store.used_bytes() == 0
        assert entry.sendable(0) is None

    def test_a_dropped_edition_can_begin_anew(self, store: BlockStore) -> None:
        content = a_content()
        old = store.open(an_edition())
        fill(old, a_content(seed=9))
        store.drop(old)

        entry = store.open(an_edition())
        fill(entry, content, but=(1,))
        store.drop(old)
        old.unpin()

        assert entry is not old
        assert store.find(entry.edition.edition_id) is entry
        assert entry.held == BlockSet.of([0, 2])
        assert entry.read_span(Span(0, 1000)) == content[:1000]

    def test_who_still_has_a_dropped_entry_is_told(self, store: BlockStore, tmp_path: Path) -> None:
        content = a_content()
        entry = store.open(an_edition())
        fill(entry, content, but=(2,))
        store.drop(entry)

        with pytest.raises(StorageDamagedError):
            entry.write_block(a_block(content, 2))
        with pytest.raises(StorageDamagedError):
            entry.read_span(Span(0, 1000))
        with pytest.raises((StorageDamagedError, OutputError)):
            entry.place(str(tmp_path / "output"))
        assert not (tmp_path / "output").exists()
        entry.unpin()

    def test_a_dropped_entry_is_validated_in_vain(self, store: BlockStore) -> None:
        entry = store.open(an_edition())
        seal(entry, a_content())
        store.drop(entry)
        entry.unpin()

        with pytest.raises(StorageDamagedError):
            entry.mark_validated(1.0)

        assert store.find(entry.edition.edition_id) is None

    # --- placing

    def test_a_placed_content_is_the_content(self, store: BlockStore, tmp_path: Path) -> None:
        content = a_content()
        target = tmp_path / "output"
        entry = store.open(an_edition())
        seal(entry, content)

        how = entry.place(str(target))

        assert how in {"reflink", "link", "copy"}
        assert target.read_bytes() == content

    def test_a_file_to_be_placed_has_the_content_and_leaves_the_entry_as_it_is(
        self, store: BlockStore
    ) -> None:
        content = a_content()
        entry = store.open(an_edition())
        entry.begin_plain()
        seal(entry, content)

        path = entry.take_plain()

        assert not path or Path(path).read_bytes() == content
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content

    def test_two_outputs_do_not_share_a_file(self, store: BlockStore, tmp_path: Path) -> None:
        content = a_content()
        entry = store.open(an_edition())
        seal(entry, content)
        entry.place(str(tmp_path / "one"))
        entry.place(str(tmp_path / "two"))

        (tmp_path / "one").write_bytes(b"mine")

        assert (tmp_path / "two").read_bytes() == content

    def test_an_output_outlives_its_entry(self, store: BlockStore, tmp_path: Path) -> None:
        content = a_content()
        entry = store.open(an_edition())
        seal(entry, content)
        entry.place(str(tmp_path / "output"))
        entry.unpin()

        store.drop(entry)

        assert (tmp_path / "output").read_bytes() == content

    def test_a_folder_that_is_not_there_is_an_output_error(
        self, store: BlockStore, tmp_path: Path
    ) -> None:
        entry = store.open(an_edition())
        seal(entry, a_content())

        with pytest.raises(OutputError) as caught:
            entry.place(str(tmp_path / "nowhere" / "output"))

        assert "nowhere" in caught.value.path

    def test_what_stands_at_the_target_stays(self, store: BlockStore, tmp_path: Path) -> None:
        target = tmp_path / "output"
        target.write_bytes(b"somebody's work")
        entry = store.open(an_edition())
        seal(entry, a_content())

        with pytest.raises(OutputError):
            entry.place(str(target))

        assert target.read_bytes() == b"somebody's work"
