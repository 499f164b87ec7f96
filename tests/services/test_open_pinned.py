"""Who opens an entry in a thread and is cancelled meanwhile leaves no pin behind."""

import asyncio
import threading

import pytest

from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.errors import StorageFullError
from damselfly.services.stores import open_pinned
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from storage.builders import HandClock

EDITION = Edition(
    edition_id=EditionId("b" * 32), task_id=TaskId("a" * 64), block_bytes=10, size_bytes=10
)


async def test_who_waits_has_the_pin() -> None:
    store = MemoryStore(now_wall_s=HandClock())
    entry = await open_pinned(lambda: store.open(EDITION))
    store.close()

    assert entry.is_pinned


async def test_who_was_cancelled_leaves_none() -> None:
    store = MemoryStore(now_wall_s=HandClock())
    may_open, opened = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def open_slowly() -> StoredEdition:
        may_open.wait()
        entry = store.open(EDITION)
        loop.call_soon_threadsafe(opened.set)
        return entry

    opening = asyncio.ensure_future(open_pinned(open_slowly))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    may_open.set()
    await opened.wait()
    while (entry := store.find(EDITION.edition_id)) is None or entry.is_pinned:
        await asyncio.sleep(0)
    store.close()


async def test_what_cannot_be_opened_is_told_to_who_waits() -> None:
    def fail() -> StoredEdition:
        raise StorageFullError(path="a cache", needed_bytes=1, free_bytes=0)

    with pytest.raises(StorageFullError):
        await open_pinned(fail)
