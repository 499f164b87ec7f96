"""The fetches of one download that are under way: each tells the mind how it went."""

import asyncio
from collections.abc import Callable

from damselfly.core.downloading.events import BlockStored, Event
from damselfly.core.peer import HostId
from damselfly.errors import DamselflyError, ParentError
from damselfly.services.downloading.block_fetcher import failed_fetch
from damselfly.services.downloading.open_edition import OpenEdition
from damselfly.telemetry.log import get_log

log = get_log()


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
        self._running: dict[tuple[int, HostId], asyncio.Task[None]] = {}

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
        self._running[block_index, host_id] = tasks.create_task(fetch)

    def cancel(self, block_index: int, host_id: HostId) -> None:
        """End a fetch that nobody needs any more, if it runs."""
        if (fetch := self._running.get((block_index, host_id))) is not None:
            fetch.cancel()

    def cancel_all(self) -> None:
        """End all."""
        for fetch in self._running.values():
            fetch.cancel()
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
            self._give_up(exc)
        except asyncio.CancelledError:
            self._running.pop(key, None)
            raise
        else:
            del self._running[key]
            self._count(block_index, host_id, count)
            self._tell(BlockStored(block_index=block_index, host_id=host_id))
