"""Seeds what the scheduler wants seeded, and tells it what becomes of that."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from damselfly.core.access import Credential
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.core.scheduling.events import (
    AccessAnswered,
    EditionOpened,
    Event,
    SeedEnded,
    SeedFailed,
    SeedStopped,
)
from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.task import TaskId, TaskSpec
from damselfly.errors import (
    DamselflyError,
    DigestMismatchError,
    KeyUnavailableError,
    PluginError,
    SourceError,
    UsageError,
)
from damselfly.services.seeding.authorising import Authorising
from damselfly.services.seeding.pacing import Pacing
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.supernode.feeds import Feeds
from damselfly.services.supernode.host_copies import HostCopies
from damselfly.services.supernode.host_sessions import is_near
from damselfly.services.supernode.host_warming import HostWarming
from damselfly.services.supernode.seed_listener import SeedListener
from damselfly.services.supernode.warming import Warming
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics

# What a host would fail with as well; of an encrypted content it must not make a plain one.
FOR_EVERYBODY: Final = (
    *(SourceError, DigestMismatchError, UsageError),
    *(KeyUnavailableError, PluginError),
)
REFUSED: Final = (401, 403, 404)  # some sources show who may not read it that nothing is there

log = get_log()


class Seeder:
    """Reads contents, and asks sources for leave, each in a task of its own.

    Args:
        scheduler: Is looked at, and told nothing but by `handle`.
        handle: Has it take in an event, and its instructions carried out.
    """

    def __init__(
        self,
        *,
        seeding: Seeding,
        authorising: Authorising,
        copies: HostCopies,
        feeds: Feeds,
        pacing: Pacing,
        warming: Warming,
        host_warming: HostWarming,
        scheduler: Scheduler,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
        handle: Callable[[Event], None],
    ) -> None:
        self._seeding = seeding
        self._authorising = authorising
        self._copies = copies
        self._feeds = feeds
        self._pacing = pacing
        self._warming = warming
        self._host_warming = host_warming
        self._scheduler = scheduler
        self._metrics = metrics
        self._tasks = tasks
        self._handle = handle
        # {task: its seeding}, until the scheduler is told of its end; and those told to stop.
        self._running: dict[TaskId, asyncio.Task[None]] = {}
        self._stopping: set[TaskId] = set()

    # --- contents

    def start(self, spec: TaskSpec, host_id: HostId) -> None:
        """Seed a task for a host, or for the SuperNode itself."""
        pace = self._host_warming.pace_of(host_id, spec)
        is_live = host_id != SUPERNODE and pace is None
        name = f"seed {spec.task_id[:12]}"
        listener = SeedListener(self, self._authorising.credential_of(spec))
        seeding = self._tasks.create_task(
            self._seed(spec, listener, host_id, is_live=is_live), name=name
        )
        # Not in the task itself: one that is cancelled at once never begins.
        seeding.add_done_callback(partial(self._on_done, spec, listener))
        self._running[spec.task_id] = seeding
        if pace is not None:
            self._warming.on_begun(spec.task_id, pace)

    def stop(self, task_id: TaskId) -> None:
        """Read a task no further, and say so when that has stopped."""
        self._stopping.add(task_id)
        self._running[task_id].cancel()

    async def _seed(
        self, spec: TaskSpec, listener: SeedListener, host_id: HostId, *, is_live: bool
    ) -> None:
        try:
            with self._pacing.live() if is_live else contextlib.nullcontext():
                if host_id == SUPERNODE:
                    size = self._warming.size_of(spec.task_id)
                    await self._copies.take(spec, size_bytes=size)
                entry = await self._obtain(spec, listener, host_id)
        except DamselflyError as exc:
            log.warning("seed_failed", task=spec.task_id, url=spec.display_url, reason=str(exc))
            self._forget(spec.task_id)
            self._end(spec, listener, self._failed(spec, exc), exc)
        else:
            self._forget(spec.task_id)
            listener.tell()
            self._count_asked(entry.edition.size_bytes or 0, listener.seeded_bytes)
            self._feeds.seal(entry.edition.edition_id)
            self._warming.on_ended(spec, None)
            self._handle(SeedEnded(task_id=spec.task_id))

    async def _obtain(self, spec: TaskSpec, listener: SeedListener, by: HostId) -> StoredEdition:
        """Seed; a bug of ours ends this task alone."""
        try:
            return await self._seeding.obtain(
                spec,
                listener,
                has_swarm=self._scheduler.swarms.__contains__,
                is_near=is_near(self._scheduler.hosts.get(by)),
            )
        except DamselflyError:
            raise
        except Exception as exc:
            log.exception("seeding_broke", task=spec.task_id)
            raise DamselflyError(f"a bug of ours ended the seeding: {exc!r}") from exc

    def _on_done(self, spec: TaskSpec, listener: SeedListener, seeding: asyncio.Task[None]) -> None:
        if not seeding.cancelled():
            return
        is_stopped = self._forget(spec.task_id)
        error = DamselflyError("nobody wants it" if is_stopped else "the SuperNode stops")
        log.info("seed_stopped", task=spec.task_id, url=spec.display_url, reason=str(error))
        event = SeedStopped(task_id=spec.task_id) if is_stopped else self._failed(spec, error)
        self._end(spec, listener, event, error, is_stopped=is_stopped)

    def _forget(self, task_id: TaskId) -> bool:
        """A seeding has ended; say whether it was told to stop."""
        del self._running[task_id]
        is_stopped = task_id in self._stopping
        self._stopping.discard(task_id)
        return is_stopped

    def _end(
        self,
        spec: TaskSpec,
        listener: SeedListener,
        event: Event,
        error: DamselflyError,
        *,
        is_stopped: bool = False,
    ) -> None:
        self._warming.on_ended(spec, error, is_stopped=is_stopped)
        self._handle(event)  # after that, since another seeding may begin, with a pace of its own
        listener.give_up()
        self._feeds.end_unwanted(self._scheduler.swarms.__contains__, task_id=spec.task_id)

    def _count_asked(self, size_bytes: int, seeded_bytes: int) -> None:
        """Count the bytes of a task that was asked for: those that were here, and the others."""
        missed = min(seeded_bytes, size_bytes)  # whole blocks, the last one is shorter
        self._metrics.cache_asked_bytes.labels("hit").inc(size_bytes - missed)
        self._metrics.cache_asked_bytes.labels("miss").inc(missed)

    # --- what a seeding tells

    def on_edition(
        self, entry: StoredEdition, *, is_stale: bool, accepted: Credential | None
    ) -> None:
        """Seeding knows the edition; `entry` is pinned until its feed ends."""
        self._feeds.begin(entry)
        self._handle(EditionOpened(edition=entry.edition, is_stale=is_stale, accepted=accepted))

    def on_seed_block(self, entry: StoredEdition, block_index: int) -> None:
        """A block came from the source."""
        self._feeds.seed(entry.edition.edition_id, block_index)

    # --- leave

    def ask_access(self, spec: TaskSpec) -> None:
        """Ask the source whether it accepts a request, and tell the scheduler."""
        self._tasks.create_task(self._ask(spec), name=f"ask {spec.task_id[:12]}")

    async def _ask(self, spec: TaskSpec) -> None:
        failure: SeedFailed | None = None
        try:
            await self._authorising.ask(spec)
        except DamselflyError as exc:
            failure = self._failed(spec, exc)
        except Exception as exc:  # a supervisor: who asked is told
            log.exception("authorising_broke", task=spec.task_id)
            failure = self._failed(spec, DamselflyError(f"a bug of ours: {exc!r}"))
        credential = self._authorising.credential_of(spec)
        self._handle(AccessAnswered(task_id=spec.task_id, credential=credential, failure=failure))

    def _failed(self, spec: TaskSpec, exc: DamselflyError) -> SeedFailed:
        status = getattr(exc, "status", 0)
        return SeedFailed(
            task_id=spec.task_id,
            error=type(exc).__name__,
            message=str(exc),
            status=status,
            http_headers=exc.http_headers,
            can_use_source=not isinstance(exc, FOR_EVERYBODY),
            refused=self._authorising.credential_of(spec) if status in REFUSED else None,
        )
