"""What a source gives becomes blocks; the first of them waits for nothing that comes after it."""

import asyncio
from collections.abc import Iterator
from typing import Self

import pytest

from damselfly.services.seeding.reading import BlockReader, Intake
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.throttle import Throttle
from storage.builders import CONTENT_BYTES, HandClock, a_content, an_edition

CONTENT = a_content()


class Source:
    """An open answer that gives as much as it is asked for, and notes what was known by then."""

    def __init__(self, told: list[int]) -> None:
        self.answer = SourceAnswer(status=200, size_bytes=CONTENT_BYTES, stop_byte=CONTENT_BYTES)
        self._told = told
        self._given = 0
        self.told_at: list[tuple[int, ...]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    async def read_into(self, buffer: memoryview) -> int:
        self.told_at.append(tuple(self._told))
        part = CONTENT[self._given : self._given + len(buffer)]
        self._given += len(part)
        buffer[: len(part)] = part
        return len(part)


@pytest.fixture
def entry() -> Iterator[StoredEdition]:
    store = MemoryStore(now_wall_s=HandClock())
    yield store.open(an_edition(is_packed=False))
    store.close()


async def test_the_second_block_is_read_when_the_first_was_told(entry: StoredEdition) -> None:
    told: list[int] = []
    source = Source(told)
    intake = Intake(on_block=lambda index, _: told.append(index))

    async with asyncio.timeout(5):
        reader = BlockReader(entry, url="", throttle=Throttle(0.0), intake=intake)
        await reader.read(source)

    assert source.told_at[:2] == [(), (0,)]
    assert told == [0, 1, 2]


async def test_a_block_is_told_before_it_is_hashed_and_its_memory_waits_for_that(
    entry: StoredEdition,
) -> None:
    events: list[str] = []
    kept: dict[int, memoryview] = {}

    def hash_soon(block_index: int, body: memoryview, on_hashed: object) -> bool:
        assert callable(on_hashed)
        kept[block_index] = body
        if block_index:  # as a hasher does, soon after the block before
            on_hashed()
        return True

    intake = Intake(on_block=lambda index, _: events.append(f"told {index}"), hash_soon=hash_soon)
    async with asyncio.timeout(5):
        reader = BlockReader(entry, url="", throttle=Throttle(0.0), intake=intake)
        await reader.read(Source([]))

    assert events == ["told 0", "told 1", "told 2"]
    assert bytes(kept[0]) == CONTENT[: len(kept[0])]  # nothing was read into it
