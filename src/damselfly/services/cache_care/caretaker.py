"""Keeps a cache in order beside its work: what is too old leaves, bytes are read again.

Disks lose bits without a word. A scrub reads what nobody uses, a little at a time, and compares
each block with its digest. A wrong block is forgotten, so that nobody is given it, and fetched
again from the swarm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from damselfly.core.caching.eviction import is_expired
from damselfly.core.task import EditionId
from damselfly.errors import DamselflyError
from damselfly.services.options import CacheOptions
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.throttle import Throttle

SWEEP_S: Final = 60.0
SWEEP_STEP: Final = 1000  # entries between two looks at other work
ASKED_MAX: Final = 1000  # editions about which the swarm is asked at a time
FULL_SHARE: Final = 0.8  # of the quota, from which on it matters what others hold

log = get_log()

AskHolders = Callable[[Sequence[EditionId]], None]
Repair = Callable[[StoredEdition, dict[int, bytes]], Awaitable[None]]
"""Gets the missing blocks of an entry, whose digests are known, and seals it."""


class Caretaker:
    """Looks after one store."""

    def __init__(
        self,
        store: BlockStore,
        options: CacheOptions,
        *,
        repair: Repair,
        ask_holders: AskHolders,
        metrics: Metrics,
        now_wall_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Take a store.

        Args:
            store: The cache.
            options: What is to be kept, and for how long.
            repair: Gets what is missing.
            ask_holders: Finds out which editions others hold too; those that leave next.
            metrics: Where it counts.
            now_wall_s: Seconds since 1970.
            sleep: Waits so many seconds.
        """
        self._store = store
        self._options = options
        self._repair = repair
        self._ask_holders = ask_holders
        self._metrics = metrics
        self._now_wall_s = now_wall_s
        self._sleep = sleep
        self._throttle = Throttle(options.scrub_rate_bytes_per_s, sleep=sleep)

    async def run(self) -> None:
        """Sweep and scrub, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_on())
            if self._options.scrub_rate_bytes_per_s:
                tasks.create_task(self._scrub_on())

    # --- what is too old, and what others hold

    async def _sweep_on(self) -> None:
        while True:
            await self._sleep(SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Drop what nobody used for too long; where room is short, ask what others hold."""
        is_filling = self._options.quota_bytes and (
            self._store.used_bytes() > FULL_SHARE * self._options.quota_bytes
        )
        if not (self._options.ttl_s or is_filling):
            return
        entries = self._store.entries()
        if self._options.ttl_s:
            for start in range(0, len(entries), SWEEP_STEP):
                await asyncio.to_thread(self._expire, entries[start : start + SWEEP_STEP])
        if is_filling:
            idle = (each for each in entries if not (each.is_pinned or each.is_kept))
            oldest = sorted(idle, key=lambda entry: entry.used_wall_s)[:ASKED_MAX]
            self._ask_holders([entry.edition.edition_id for entry in oldest])

    def _expire(self, entries: Sequence[StoredEdition]) -> None:
        for entry in entries:
            is_old = is_expired(
                entry.used_wall_s, now_wall_s=self._now_wall_s(), ttl_s=self._options.ttl_s
            )
            if is_old and not (entry.is_pinned or entry.is_kept):
                self._store.drop(entry)
                self._metrics.cache_expired.inc()

    def note_holders(self, asked: Sequence[str], held: Sequence[str]) -> None:
        """The swarm has told which editions others hold too."""
        elsewhere = set(held)
        wanted = set(asked)
        for entry in self._store.entries():
            if entry.edition.edition_id in wanted:
                entry.is_elsewhere = entry.edition.edition_id in elsewhere

    # --- bytes that went wrong

    async def _scrub_on(self) -> None:
        await self._sleep(SWEEP_S)
        while True:
            await self.scrub()
            await self._sleep(max(self._options.scrub_pause_s, SWEEP_S))

    async def scrub(self) -> None:
        """Read all sealed content that nobody uses, once, and repair what is wrong."""
        for entry in self._store.entries():
            if entry.is_sealed and not entry.is_pinned:
                await self._scrub_entry(entry)

    async def _scrub_entry(self, entry: StoredEdition) -> None:
        layout = entry.edition.layout
        bad: list[int] = []
        for index in range(layout.block_count):
            length = len(layout.span(index))
            await self._throttle.take(length)
            try:
                if not await asyncio.to_thread(entry.is_block_right, index):
                    bad.append(index)
            except (DamselflyError, OSError) as exc:
                # It was dropped meanwhile, its journal is damaged, or this process is out of files.
                log.info("scrub_ended_early", edition=entry.edition.edition_id, reason=str(exc))
                return
            self._metrics.scrubbed_bytes.inc(length)
        if bad:
            await self.mend(entry, bad)

    async def mend(self, entry: StoredEdition, bad: Sequence[int]) -> None:
        """Forget blocks that are wrong, and get them again."""
        self._metrics.damaged_blocks.inc(len(bad))
        log.warning("blocks_damaged", edition=entry.edition.edition_id, blocks=list(bad)[:20])
        digests = {index: entry.digest_of(index) or b"" for index in bad}
        try:
            for index in bad:
                if not await asyncio.to_thread(entry.forget_block, index):
                    return  # somebody came to use it; the next pass sees it again
        except (DamselflyError, OSError) as exc:
            log.warning("repair_failed", edition=entry.edition.edition_id, reason=str(exc))
            return
        await self.repair(entry, digests)

    def mending_in(
        self, tasks: asyncio.TaskGroup
    ) -> Callable[[StoredEdition, Sequence[int]], None]:
        """Return what mends entries in tasks of a group, to be called from any thread."""
        loop = asyncio.get_running_loop()

        def mend(entry: StoredEdition, bad: Sequence[int]) -> None:
            loop.call_soon_threadsafe(
                lambda: tasks.create_task(self.mend(entry, bad), name="mend cache")
            )

        return mend

    async def repair(self, entry: StoredEdition, digests: dict[int, bytes]) -> None:
        """Get missing blocks again; those that cannot be had come with the next download."""
        try:
            await self._repair(entry, digests)
        except DamselflyError as exc:
            log.warning("repair_failed", edition=entry.edition.edition_id, reason=str(exc))
        else:
            self._metrics.repaired_blocks.inc(len(digests))
            log.info("blocks_repaired", edition=entry.edition.edition_id, blocks=len(digests))
