"""The digest of the whole is taken in the order of the file, whatever order blocks come in."""

import hashlib
from collections.abc import Iterator

import pytest

from damselfly.services.seeding.whole_hasher import EARLY_BLOCKS_MAX, WholeHasher
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from storage.builders import BLOCK_BYTES, CONTENT_BYTES, HandClock, a_content, an_edition, fill

CONTENT = a_content()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
BLOCKS = -(-CONTENT_BYTES // BLOCK_BYTES)


@pytest.fixture
def entry() -> Iterator[StoredEdition]:
    store = MemoryStore(now_wall_s=HandClock())
    yield store.open(an_edition(is_packed=False))
    store.close()


def block(index: int) -> memoryview:
    """Return a block in memory of its own, as a frame is."""
    return memoryview(bytearray(CONTENT[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]))


async def digest_at_the_end(hasher: WholeHasher) -> str:
    hasher.end()
    await hasher.run()
    return hasher.digest().value


async def test_block_that_comes_early_is_hashed_in_its_turn_without_being_read_again(
    entry: StoredEdition,
) -> None:
    hasher = WholeHasher(entry, "sha256")  # nothing is stored, so that nothing can be read

    are_kept = [hasher.hash_or_keep(index, block(index)) for index in (1, 0, *range(2, BLOCKS))]

    assert are_kept == [True] + [False] * (BLOCKS - 1)
    assert hasher.is_past(1)
    assert await digest_at_the_end(hasher) == DIGEST


async def test_early_block_whose_memory_is_wanted_is_read_again(entry: StoredEdition) -> None:
    fill(entry, CONTENT)
    hasher = WholeHasher(entry, "sha256")
    frame = block(1)
    hasher.hash_or_keep(1, frame)

    assert hasher.forget(1)
    frame[:] = bytes(len(frame))

    assert await digest_at_the_end(hasher) == DIGEST


async def test_block_that_comes_much_too_early_is_not_kept(entry: StoredEdition) -> None:
    hasher = WholeHasher(entry, "sha256")

    assert not hasher.hash_or_keep(EARLY_BLOCKS_MAX + 1, block(1))
    assert not hasher.forget(EARLY_BLOCKS_MAX + 1)
