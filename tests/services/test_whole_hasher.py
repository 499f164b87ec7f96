"""The digest of the whole is taken in the order of the file, whatever order blocks come in."""

import asyncio
import hashlib
from collections.abc import Iterator
from functools import partial

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


def nothing() -> None:
    """Be told that bytes were hashed."""


async def digest_at_the_end(hasher: WholeHasher) -> str:
    hasher.end()
    await hasher.run()
    return hasher.digest().value


async def test_blocks_in_memory_are_hashed_in_their_turn_without_being_read_again(
    entry: StoredEdition,
) -> None:
    hasher = WholeHasher(entry, "sha256")  # nothing is stored, so that nothing can be read
    hashed: list[int] = []

    for index in (1, 0, *range(2, BLOCKS)):
        assert hasher.hash_soon(index, block(index), partial(hashed.append, index), can_wait=True)

    assert await digest_at_the_end(hasher) == DIGEST
    assert hashed == [*range(BLOCKS)]


async def test_who_has_stored_a_block_does_not_wait_until_it_is_hashed(
    entry: StoredEdition,
) -> None:
    hasher = WholeHasher(entry, "sha256")
    hashed = asyncio.Event()

    hasher.hash_soon(0, block(0), hashed.set)
    assert not hashed.is_set()

    running = asyncio.ensure_future(hasher.run())
    async with asyncio.timeout(5):
        await hashed.wait()
    running.cancel()


async def test_memory_that_cannot_wait_is_kept_only_if_all_before_it_is_here(
    entry: StoredEdition,
) -> None:
    hasher = WholeHasher(entry, "sha256")

    assert not hasher.hash_soon(1, block(1), nothing)
    assert hasher.hash_soon(0, block(0), nothing)
    assert hasher.hash_soon(1, block(1), nothing)


async def test_second_copy_of_a_block_is_not_kept(entry: StoredEdition) -> None:
    hasher = WholeHasher(entry, "sha256")

    assert hasher.hash_soon(0, block(0), nothing)
    assert not hasher.hash_soon(0, block(0), nothing)


async def test_early_block_whose_memory_is_wanted_is_read_again(entry: StoredEdition) -> None:
    fill(entry, CONTENT)
    hasher = WholeHasher(entry, "sha256")
    frame = block(1)
    hasher.hash_soon(1, frame, nothing, can_wait=True)

    assert hasher.forget(1)
    frame[:] = bytes(len(frame))

    assert await digest_at_the_end(hasher) == DIGEST


async def test_block_that_comes_much_too_early_is_not_kept(entry: StoredEdition) -> None:
    hasher = WholeHasher(entry, "sha256")

    assert not hasher.hash_soon(EARLY_BLOCKS_MAX + 1, block(1), nothing, can_wait=True)
    assert not hasher.forget(EARLY_BLOCKS_MAX + 1)


async def test_memory_is_given_back_when_nobody_wants_the_hash_any_more(
    entry: StoredEdition,
) -> None:
    hasher = WholeHasher(entry, "sha256")
    given_back: list[int] = []
    running = asyncio.ensure_future(hasher.run())
    await asyncio.sleep(0)
    hasher.hash_soon(1, block(1), partial(given_back.append, 1), can_wait=True)

    running.cancel()
    await asyncio.wait([running])

    assert given_back == [1]
    assert not hasher.hash_soon(0, block(0), nothing)
