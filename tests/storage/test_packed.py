"""The packed layout keeps the contract, and what lies in it survives what plain bytes survive."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import blake3
import crc32c
import pytest

from contract.block_room import MakeStore
from contract.block_store import BlockStoreContract, sent_by_kernel
from damselfly.core.blocks import BlockSet, Span
from damselfly.core.task import Edition
from damselfly.errors import StorageDamagedError, StorageFullError
from damselfly.storage.decoded import DecodedBlocks
from damselfly.storage.packed.packed_journal import PACKED_RECORD_BYTES
from damselfly.storage.store import HeldBlock, StoredEdition
from damselfly.wire.ciphers.aes256gcm import Aes256Gcm
from damselfly.wire.ciphers.data_keys import DataKey
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, PackedHeader, trailer
from damselfly.wire.packing import pack, unpack
from storage.builders import (
    BLOCK_BYTES,
    CODECS,
    CONTENT_BYTES,
    USUALLY,
    HandClock,
    a_disk_store,
    an_edition,
    folder_of,
    found,
)

KEY = DataKey.of(Aes256Gcm(), bytes(range(32)), draw=random.Random(0).randbytes)


class TestPackedDiskStore(BlockStoreContract):
    @pytest.fixture(autouse=True)
    def _packed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(USUALLY, "is_packed", True)

    @pytest.fixture
    def make_store(self, clock: HandClock, tmp_path: Path) -> Iterator[MakeStore]:
        with ExitStack() as stores:
            yield lambda quota_bytes=0: stores.enter_context(
                a_disk_store(tmp_path / "cache", quota_bytes=quota_bytes, clock=clock)
            )


def words(size_bytes: int = CONTENT_BYTES) -> bytes:
    """Return a content that compresses."""
    rng = random.Random(0)
    text = b" ".join(rng.choice([b"block", b"edition", b"swarm"]) for _ in range(size_bytes))
    return text[:size_bytes]


def a_packed_edition(*, key: DataKey | None = None, size_bytes: int = CONTENT_BYTES) -> Edition:
    edition = an_edition(is_packed=True, size_bytes=size_bytes)
    return replace(edition, cipher=1, key_id=key.key_id) if key else edition


def a_packed_block(
    content: bytes, block_index: int, *, codec: int = 1, key: DataKey | None = None
) -> HeldBlock:
    plain = content[block_index * BLOCK_BYTES : (block_index + 1) * BLOCK_BYTES]
    packed = pack(
        plain,
        edition_id=an_edition().edition_id,
        block_index=block_index,
        codec=codec,
        compressed=CODECS[codec].encode(plain, level=1) if codec else None,
        key=key,
    )
    return HeldBlock(
        block_index,
        packed.body,
        blake3.blake3(plain).digest(),
        crc32c.crc32c(packed.body),
        header=packed.header,
    )


def fill(entry: StoredEdition, content: bytes, *, key: DataKey | None = None) -> None:
    for block_index in range(-(-len(content) // BLOCK_BYTES)):
        codec = (1, 0, 2)[block_index % 3]  # each block by itself
        entry.write_block(a_packed_block(content, block_index, codec=codec, key=key))


def test_readers_get_plain_bytes_of_bodies_of_any_kind(root: Path, tmp_path: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        fill(entry, content)
        entry.seal(None)

        assert entry.content_path == ""
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content
        assert entry.read_span(Span(990, 1010)) == content[990:1010]
        assert entry.place(str(tmp_path / "output")) == "copy"
        assert (tmp_path / "output").read_bytes() == content
        assert store.used_bytes() < CONTENT_BYTES


def test_what_is_sent_is_the_body_as_it_came(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        block = a_packed_block(content, 0)
        entry.write_block(block)

        sendable = entry.sendable(0)

        assert sendable is not None
        assert sendable.header == block.header
        assert sent_by_kernel(sendable) == block.body
        assert sendable.body_crc32c == crc32c.crc32c(bytes(block.body))


def test_the_file_is_packed_blocks_one_after_another(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        fill(store.open(a_packed_edition()), content)

    data = (folder_of(root, a_packed_edition()) / "packed").read_bytes()
    plain: dict[int, bytes] = {}
    while data:
        header = PackedHeader.decode(data, codecs=CODECS)
        stop = HEADER_BYTES + header.body_bytes
        body = data[HEADER_BYTES:stop]
        assert trailer(data[:HEADER_BYTES], crc32c.crc32c(body)) == data[stop : stop + 4]
        plain[header.block_index] = bytes(unpack(header, body, codecs=CODECS))
        data = data[stop + TRAILER_BYTES :]
    assert b"".join(plain[index] for index in range(3)) == content


# --- kills and crashes


def test_a_kill_loses_no_block(root: Path) -> None:
    content = words()
    with a_disk_store(root) as killed:
        entry = killed.open(a_packed_edition())
        for block_index in (2, 0):
            entry.write_block(a_packed_block(content, block_index))
        killed._lock_file.close()  # what the kernel does with a killed process
        with a_disk_store(root) as store:
            again = found(store, a_packed_edition())

            assert again.held == BlockSet.of([0, 2])
            again.pin()
            again.write_block(a_packed_block(content, 1))
            again.seal(None)
            assert again.read_span(Span(0, CONTENT_BYTES)) == content
            again.unpin()


@pytest.mark.parametrize("cut", [1, PACKED_RECORD_BYTES - 1])
def test_a_torn_record_is_as_if_its_block_had_not_come(root: Path, cut: int) -> None:
    content = words()
    with a_disk_store(root) as store:
        fill(store.open(a_packed_edition()), content)
    journal = folder_of(root, a_packed_edition()) / "journal"
    os.truncate(journal, 3 * PACKED_RECORD_BYTES - cut)

    with a_disk_store(root) as store:
        entry = found(store, a_packed_edition())

        assert entry.held == BlockSet.of([0, 1])
        entry.pin()
        entry.write_block(a_packed_block(content, 2))  # over what the kill left
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content
        entry.unpin()
    assert (folder_of(root, a_packed_edition()) / "journal").stat().st_size == (
        3 * PACKED_RECORD_BYTES
    )


@pytest.mark.parametrize("key", [None, KEY])
def test_after_a_crash_blocks_are_looked_at_again(root: Path, key: DataKey | None) -> None:
    content = words()
    edition = a_packed_edition(key=key)
    with a_disk_store(root, boot_id="before") as store:
        entry = store.open(edition)
        fill(entry, content, key=key)
        sendable = entry.sendable(1)
        assert sendable is not None
    with (folder_of(root, edition) / "packed").open("r+b") as file:
        file.seek(sendable.offset + 5)
        file.write(b"\0\0\0\0")  # the disk did not have it yet

    with a_disk_store(root, boot_id="after") as store:
        entry = found(store, edition)

        assert entry.held == BlockSet.of([0, 2])


def test_a_sealed_entry_is_there_again(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        fill(entry, content)
        entry.seal(None)
        used = store.used_bytes()
        store.settle()

    with a_disk_store(root) as store:
        entry = found(store, a_packed_edition())

        assert entry.is_sealed
        assert entry.edition.is_packed
        assert store.used_bytes() == used
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content


def test_a_block_that_went_bad_is_found_and_fetched_again(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        fill(entry, content)
        entry.unpin()
        sendable = entry.sendable(0)
        assert sendable is not None
        with (folder_of(root, a_packed_edition()) / "packed").open("r+b") as file:
            file.seek(sendable.offset + 3)
            file.write(b"\0\0\0\0")

        assert not entry.is_block_right(0)
        assert entry.is_block_right(1)
        with pytest.raises(StorageDamagedError, match="block 0 is not what was written"):
            entry.read_span(Span(0, 10))
        assert entry.forget_block(0)
        entry.write_block(a_packed_block(content, 0))
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content
        entry.close_files()


def test_a_sealed_entry_that_somebody_wrote_into_is_dropped(root: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        fill(entry, words())
        entry.seal(None)
        with (folder_of(root, a_packed_edition()) / "packed").open("ab") as file:
            file.write(b"x")

        assert entry.sendable(0) is None
        assert store.find(a_packed_edition().edition_id) is None
        entry.unpin()


# --- room


def test_the_quota_counts_what_lies_there(root: Path) -> None:
    content = words(50 * BLOCK_BYTES)
    edition = a_packed_edition(size_bytes=len(content))
    with a_disk_store(root, quota_bytes=len(content)) as store:
        fill(store.open(edition), content)

        assert store.used_bytes() < len(content)
    noise = random.Random(1).randbytes(CONTENT_BYTES)
    with a_disk_store(root / "small", quota_bytes=CONTENT_BYTES) as store:
        entry = store.open(an_edition(is_packed=True, size_bytes=None))
        blocks = []
        for block_index in range(9):
            block = a_packed_block(noise, 0, codec=0)
            assert block.header is not None
            header = replace(block.header, block_index=block_index)
            blocks.append(replace(block, block_index=block_index, header=header))
        with pytest.raises(StorageFullError):
            list(map(entry.write_block, blocks))
        assert store.used_bytes() == 0
        entry.unpin()


# --- decoding


def test_a_body_that_lies_about_its_length_is_never_given_out(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        block = a_packed_block(content, 0)
        assert block.header is not None
        entry.write_block(replace(block, header=replace(block.header, plain_bytes=999)))

        with pytest.raises(StorageDamagedError, match="cannot be decoded"):
            entry.read_span(Span(0, 10))
        assert not entry.is_block_right(0)


def test_without_its_codec_a_block_can_be_sent_and_not_read(root: Path, tmp_path: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        fill(entry, words())
        entry.seal(None)
        for codec in CODECS:
            store.put_aside(codec)

        assert entry.sendable(0) is not None
        with pytest.raises(StorageDamagedError, match="codec 1"):
            entry.read_span(Span(0, 10))
        with pytest.raises(StorageDamagedError, match="codec"):
            entry.place(str(tmp_path / "output"))
        assert not (tmp_path / "output").exists()


def test_an_encrypted_entry_opens_with_its_key_alone(root: Path) -> None:
    content = words()
    edition = a_packed_edition(key=KEY)
    with a_disk_store(root) as store:
        entry = store.open(edition)
        fill(entry, content, key=KEY)
        assert entry.sendable(0) is not None
        with pytest.raises(StorageDamagedError, match=f"key {KEY.key_id}"):
            entry.read_span(Span(0, 10))

        entry.unlock(KEY)

        assert entry.read_span(Span(0, CONTENT_BYTES)) == content
    data = (folder_of(root, edition) / "packed").read_bytes()
    assert b"block" not in data
    assert b"edition" not in data


def test_who_reads_on_in_a_block_does_not_decode_again(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        block = a_packed_block(content, 0)
        entry.write_block(replace(block, plain=memoryview(content)[:BLOCK_BYTES]))

        assert store.decoded.get(block.digest) == content[:BLOCK_BYTES]
        entry.write_block(a_packed_block(content, 1))
        assert store.decoded.get(a_packed_block(content, 1).digest) is None
        entry.read_span(Span(1000, 1001))
        assert store.decoded.get(a_packed_block(content, 1).digest) == content[1000:2000]


def test_decoded_blocks_leave_when_others_come() -> None:
    decoded = DecodedBlocks(bytes_max=100)
    decoded.put(b"a", bytes(40))
    decoded.put(b"b", bytes(40))
    decoded.get(b"a")

    decoded.put(b"c", bytes(40))
    decoded.put(b"d", bytes(101))

    assert [name for name in (b"a", b"b", b"c", b"d") if decoded.get(name)] == [b"a", b"c"]


# --- the whole in plain, for whoever places it


def in_plain(root: Path) -> list[Path]:
    """Return the files that a store has made for others to place."""
    return [path for path in (root / "plain").rglob("*") if path.is_file()]


def test_a_file_is_laid_while_blocks_come_and_goes_with_the_last_user(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition())
        entry.write_block(a_packed_block(content, 1))  # before anybody wanted a file
        entry.begin_plain()
        entry.write_block(a_packed_block(content, 0, codec=0))
        (path,) = in_plain(root)
        assert path.read_bytes() == content[:BLOCK_BYTES]
        fill(entry, content)
        entry.seal(None)

        assert Path(entry.take_plain()).read_bytes() == content
        assert entry.take_plain() == ""  # who has the first one may write into it
        assert store.used_bytes() < CONTENT_BYTES
        entry.unpin()

        assert in_plain(root) == []
        assert entry.read_span(Span(0, CONTENT_BYTES)) == content


def test_of_a_content_without_bytes_there_is_a_file(root: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition(size_bytes=0))
        entry.seal(None)

        assert Path(entry.take_plain()).read_bytes() == b""


def test_nothing_encrypted_is_laid_in_plain(root: Path) -> None:
    content = words()
    with a_disk_store(root) as store:
        entry = store.open(a_packed_edition(key=KEY))
        entry.unlock(KEY)
        entry.begin_plain()
        fill(entry, content, key=KEY)
        entry.seal(None)

        assert entry.take_plain() == ""
        assert in_plain(root) == []


def test_without_room_or_users_no_file_is_laid(root: Path) -> None:
    content = words()
    with a_disk_store(root, quota_bytes=CONTENT_BYTES + 500) as store:
        entry = store.open(a_packed_edition())
        fill(entry, content)
        entry.seal(None)

        assert entry.take_plain() == ""
        entry.unpin()
        entry.begin_plain()
        assert in_plain(root) == []


def test_what_a_kill_left_in_plain_is_gone(root: Path) -> None:
    with a_disk_store(root):
        pass
    (root / "plain").mkdir()
    (root / "plain" / an_edition().edition_id).write_bytes(words())

    with a_disk_store(root):
        assert in_plain(root) == []
