"""The disk is asked to have what was written when the store is at rest, or after a while."""

import asyncio

import pytest

from damselfly.services.stores import keep_settled
from damselfly.storage.memory import MemoryStore
from storage.builders import HandClock


class BusyStore(MemoryStore):
    """A store into which somebody writes, as many looks at it long as was said."""

    def __init__(self, *, busy_looks: float) -> None:
        super().__init__(now_wall_s=HandClock())
        self.looks = 0
        self.settled_at: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._busy_looks = busy_looks

    def used_bytes(self) -> int:
        self.looks += self.looks < self._busy_looks
        return self.looks

    def settle(self) -> None:
        def note() -> None:
            if not self.settled_at.done():
                self.settled_at.set_result(self.looks)

        self._loop.call_soon_threadsafe(note)


@pytest.mark.parametrize(
    ("busy_looks", "unsettled_s_max", "settled_at"),
    [(5, 60.0, 5), (float("inf"), 0.0, 1)],
    ids=["at rest", "busy for too long"],
)
async def test_disk_is_left_alone_while_somebody_writes_but_not_for_ever(
    busy_looks: float, unsettled_s_max: float, settled_at: int
) -> None:
    store = BusyStore(busy_looks=busy_looks)
    settling = asyncio.ensure_future(
        keep_settled(store, look_s=0.0, unsettled_s_max=unsettled_s_max)
    )

    async with asyncio.timeout(5):
        assert await store.settled_at == settled_at

    settling.cancel()
