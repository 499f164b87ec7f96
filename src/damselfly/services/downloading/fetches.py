"""The fetches of one download that are under way: each tells the mind how it went."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from damselfly.clock import now_s
from damselfly.core.downloading.events import BlockStored, Event
from damselfly.core.peer import HostId
from damselfly.errors import DamselflyError, ParentError
from damselfly.services.downloading.block_fetcher import failed_fetch
from damselfly.services.downloading.open_edition import OpenEdition
from damselfly.telemetry.log import get_log

SLOW_S: Final = 1.0  # what has run so long may be held back where it comes from

log = get_log()


@dataclass(frozen=True, slots=True)
class _Running:
    """A fetch under way; `again` begins it anew in its own place."""

    task: asyncio.Task[None]
    since_s: float
    again: Callable[[], None]


class Fetches:
    """Fetches from parents.

    Args:
        tell: Takes the event of an end.
        count: Takes where a block came from and its bytes, before its event is told.
        give_up: Takes an error of our own disk: the download cannot go on.
    """

    def __init__(
        self,
        *,
        tell: Callable[[Event], None],
        count: Callable[[int, HostId, int], None],
        give_up: Callable[[DamselflyError], None],
    ) -> None:
        self._tell = tell
        self._count = count
        self._give_up = give_up
        self._running: dict[tuple[int, HostId], _Running] = {}

    def start(
        self,
        tasks: asyncio.TaskGroup,
        opened: OpenEdition,
        block_index: int,
        host_id: HostId,
        address: str,
    ) -> None:
        """Fetch a block from a parent."""
        fetch = self._fetch(opened, block_index, host_id, address)
        self._running[block_index, host_id] = _Running(
            task=tasks.create_task(fetch),
            since_s=now_s(),
            again=partial(self.start, tasks, opened, block_index, host_id, address),
        )

    def cancel(self, block_index: int, host_id: HostId) -> None:
        """End a fetch that nobody needs any more, if it runs."""
        if (running := self._running.get((block_index, host_id))) is not None:
            running.task.cancel()

    def hurry(self, *, slow_s: float = SLOW_S) -> None:
        """Somebody waits from now on: what is slow is asked for anew, and not as a preheat."""
        begun_s = now_s() - slow_s
        for running in [each for each in self._running.values() if each.since_s < begun_s]:
            running.task.cancel()
            running.again()

    def cancel_all(self) -> None:
        """End all."""
        for running in self._running.values():
            running.task.cancel()
        self._running.clear()

    async def _fetch(
        self, opened: OpenEdition, block_index: int, host_id: HostId, address: str
    ) -> None:
        key = (block_index, host_id)
        try:
            count = await opened.fetch(block_index, host_id, address)
        except ParentError as exc:
            log.debug("fetch_failed", host=host_id, block_index=block_index, reason=str(exc))
            del self._running[key]
            self._tell(failed_fetch(block_index, host_id, exc))
        except DamselflyError as exc:
            del self._running[key]
            self._give_up(exc)
        except asyncio.CancelledError:
            running = self._running.get(key)
            if running is not None and running.task is asyncio.current_task():
                del self._running[key]
            raise
        else:
            del self._running[key]
            self._count(block_index, host_id, count)
            self._tell(BlockStored(block_index=block_index, host_id=host_id))
