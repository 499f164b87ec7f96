"""Guards the fetches of a download: what a preheat has asked for is asked for anew in a hurry."""

import asyncio

from damselfly.core.downloading.events import BlockStored, Event
from damselfly.core.peer import HostId
from damselfly.services.downloading.fetches import Fetches

ANN = HostId("ann")


class SlowOnce:
    """An edition whose blocks come the second time that they are asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.has_begun = asyncio.Event()

    async def fetch(self, block_index: int, host_id: HostId, address: str) -> int:  # noqa: ARG002
        self.asked.append(block_index)
        if self.asked.count(block_index) == 1:
            self.has_begun.set()
            await asyncio.Event().wait()
        return 5


async def test_what_is_slow_is_asked_for_anew_when_somebody_waits() -> None:
    told, counted, edition = list[Event](), list[int](), SlowOnce()
    fetches = Fetches(
        tell=told.append,
        count=lambda block_index, _, count: counted.append(block_index * 100 + count),
        give_up=lambda error: counted.append(hash(error)),
    )
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        fetches.start(tasks, edition, 7, ANN, "")  # type: ignore[arg-type]  # as much as it needs
        await edition.has_begun.wait()
        fetches.hurry(slow_s=1000)
        asked_before = list(edition.asked)
        fetches.hurry(slow_s=0)

    assert (asked_before, edition.asked) == ([7], [7, 7])
    assert told == [BlockStored(block_index=7, host_id=ANN)]
    assert counted == [705]
