"""What a host downloads: one run per task, shared by all who ask for it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Final, TypeVar

from damselfly.clock import now_s
from damselfly.core.downloading.backoff import pause_told
from damselfly.core.task import TaskId, TaskSpec
from damselfly.errors import DownloadTimeoutError
from damselfly.services.downloading.block_fetcher import Saved
from damselfly.services.downloading.content import Content
from damselfly.services.downloading.download_parts import DownloadParts
from damselfly.services.downloading.download_run import DownloadRun
from damselfly.services.downloading.precedence import tell_precedence
from damselfly.services.downloading.seen_downloads import SeenDownloads
from damselfly.services.seeding.pacing import Pace
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.wire import session_messages as wire
from damselfly.wire.local_messages import (
    DownloadFinished,
    DownloadProgress,
    DownloadRequest,
    ProviderBytes,
)

PROGRESS_S: Final = 0.5  # what a person can follow; each line costs both sides
SETTLE_S: Final = 2.0  # a seal takes milliseconds; that a source has ended it may say late

T = TypeVar("T")

log = get_log()


class Downloads:
    """All downloads of this host.

    Attributes:
        seen: What people see of them.
    """

    def __init__(self, parts: DownloadParts) -> None:
        self._parts = parts
        self._runs: dict[TaskId, DownloadRun] = {}
        self.seen = SeenDownloads()
        # {run: requests that wait for it}; one that allows the source causes what others forbid.
        self._waiting: dict[DownloadRun, list[DownloadRequest]] = defaultdict(list)
        # {download id: entry, pinned}: handed out, until their requester has placed them.
        self._handed_out: dict[str, StoredEdition] = {}
        self._next_id = 0

    async def get(
        self, request: DownloadRequest, on_progress: Callable[[DownloadProgress], None]
    ) -> DownloadFinished:
        """Download what is asked for; the content stays pinned until `release`.

        Raises:
            DamselflyError: Whatever ended it without content.
        """
        spec = self._parts.spec_of(request)
        started_s = now_s()
        with self._counted(), _logged(spec):
            return await _in_time(request, self._get(spec, request, on_progress, started_s))

    async def warm(
        self, request: DownloadRequest, on_progress: Callable[[DownloadProgress], None]
    ) -> int:
        """Have a content here, behind what anybody waits for; return its length.

        It is handed out to nobody, so nobody's right to have it matters.

        Raises:
            DamselflyError: Whatever ended it without content.
        """
        spec = self._parts.spec_of(request)
        entry = self._known_by_digest(spec)
        if entry is None:
            with self._counted():
                pace = self._parts.pacing.new(request.rate_bytes_per_s)
                async with self._joined(spec, request, pace) as run:
                    await self._wait(run, on_progress)
                    entry = run.outcome.result()
        return entry.edition.size_bytes or 0

    @contextlib.asynccontextmanager
    async def read(self, request: DownloadRequest) -> AsyncIterator[Content]:
        """Give a content as soon as its edition is known, to be read while it comes.

        Leaving the block gives it up, for this reader alone.

        Raises:
            DamselflyError: Whatever ended it without content.
        """
        spec = self._parts.spec_of(request)
        content: Content | None = None
        # Who closes a file that is here whole gives nothing up.
        with self._counted(is_whole=lambda: content is not None and content.is_whole):
            async with contextlib.AsyncExitStack() as stack:
                content = await _in_time(request, self._open(stack, spec, request))
                yield content

    async def _open(
        self, stack: contextlib.AsyncExitStack, spec: TaskSpec, request: DownloadRequest
    ) -> Content:
        run: DownloadRun | None = None
        entry = await self._permitted(spec)
        if entry is None:
            run = await stack.enter_async_context(self._joined(spec, request))
            while run.entry is None and not run.outcome.done():
                await run.news.wait()
            entry = run.entry or run.outcome.result()
        entry.pin()
        stack.callback(entry.unpin)
        return Content(spec, entry, run)

    @contextlib.contextmanager
    def _counted(self, is_whole: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Count how a download ends."""
        self._parts.metrics.downloads_running.inc()
        outcome = "failed"
        try:
            yield
            outcome = "finished"
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "finished" if is_whole() else "cancelled"
            raise
        finally:
            self._parts.metrics.downloads_running.dec()
            self._parts.metrics.downloads.labels(outcome).inc()

    def is_held(self, request: DownloadRequest) -> bool:
        """Say whether a content with a digest is here, whole."""
        return self._known_by_digest(self._parts.spec_of(request)) is not None

    def content_of(self, download_id: str) -> StoredEdition | None:
        """Return the entry of a download that was handed out and not released."""
        return self._handed_out.get(download_id)

    def release(self, download_id: str) -> bool:
        """Let the cache evict a content that was handed out; False: there is none."""
        entry = self._handed_out.pop(download_id, None)
        if entry is not None:
            entry.unpin()
        return entry is not None

    async def _get(
        self,
        spec: TaskSpec,
        request: DownloadRequest,
        on_progress: Callable[[DownloadProgress], None],
        started_s: float,
    ) -> DownloadFinished:
        if (entry := await self._permitted(spec)) is not None:
            size = entry.edition.size_bytes or 0
            return await self._hand_out(entry, request, started_s, ProviderBytes(cache=size))
        async with self._joined(spec, request) as run:
            run.is_placed |= request.is_placed
            if request.is_placed and run.entry is not None:
                await asyncio.to_thread(run.entry.begin_plain)
            await self._wait(run, on_progress)
            entry = run.outcome.result()
            return await self._hand_out(entry, request, started_s, run.tally.bytes_by, run)

    @contextlib.asynccontextmanager
    async def _joined(
        self, spec: TaskSpec, request: DownloadRequest, pace: Pace | None = None
    ) -> AsyncIterator[DownloadRun]:
        """Give the run of a task; the last one who leaves it ends it.

        With a pace it is for nobody who waits; without one, it goes on as fast as it can.
        """
        run = await self._run_of(spec, is_handed_out=pace is None)
        if run is None or run.outcome.done():
            run = DownloadRun(self._parts, spec, request, pace)
            run.outcome.add_done_callback(lambda _: tell_precedence(self._waiting))
            self._runs[spec.task_id] = run
            run.start()
            self.seen.begin(run, spec)
        elif pace is None:
            run.take_over(spec)
        self._wait_with(run, request)
        try:
            with contextlib.nullcontext() if pace else self._parts.pacing.live():
                yield run
        finally:
            await self._leave(run, request)

    async def _run_of(self, spec: TaskSpec, *, is_handed_out: bool) -> DownloadRun | None:
        """Return the run of a task, if there is one that this requester may take part in.

        Raises:
            SourceError: It may not.
        """
        credential = self._parts.authorising.credential_of(spec)
        while (run := self._runs.get(spec.task_id)) is not None:
            if run.is_ending:
                await self._end(run)
                continue
            if is_handed_out and not run.outcome.done() and credential != run.credential:
                is_public = run.entry is not None and run.entry.is_public
                await self._parts.authorising.check(spec, is_public=is_public)
            if self._runs.get(spec.task_id) is run and not run.is_ending:
                break
        return run

    async def _permitted(self, spec: TaskSpec) -> StoredEdition | None:
        """Return the whole content that is here, if the source lets this requester have it.

        Raises:
            SourceError: It does not.
        """
        entry = self._known_by_digest(spec)
        if entry is not None:
            await self._parts.authorising.check(spec, is_public=entry.is_public)
            self._count_asked(hit=entry.edition.size_bytes or 0, missed=0)
        return entry

    def _count_asked(self, *, hit: int, missed: int) -> None:
        """Count bytes that somebody wanted: those that were here, and those that were not."""
        self._parts.metrics.cache_asked_bytes.labels("hit").inc(hit)
        self._parts.metrics.cache_asked_bytes.labels("miss").inc(missed)

    def _wait_with(self, run: DownloadRun, request: DownloadRequest) -> None:
        waiting = self._waiting[run]
        waiting.append(request)
        run.permit(is_permitted=any(each.can_use_source for each in waiting))
        tell_precedence(self._waiting)

    async def _leave(self, run: DownloadRun, request: DownloadRequest) -> None:
        waiting = self._waiting[run]
        waiting.remove(request)
        if waiting:
            run.permit(is_permitted=any(each.can_use_source for each in waiting))
            tell_precedence(self._waiting)
            return
        del self._waiting[run]
        tell_precedence(self._waiting)
        await self._end(run)

    async def _end(self, run: DownloadRun) -> None:
        """End a run that nobody wants; who wants its task meanwhile waits, and begins another.

        It goes on when who waits for it is cancelled: else its entry would stay pinned.
        """
        await asyncio.shield(asyncio.ensure_future(self._forget(run)))

    async def _forget(self, run: DownloadRun) -> None:
        if not run.is_ending:
            await _settled(run)
            if self._waiting.get(run):
                return  # somebody wants it again
        is_first = not run.is_ending
        self.seen.end(run)
        await run.end()
        if is_first:
            bytes_by = run.tally.bytes_by
            self._count_asked(hit=bytes_by.cache, missed=bytes_by.total - bytes_by.cache)
        if self._runs.get(run.spec.task_id) is run:
            del self._runs[run.spec.task_id]

    def _known_by_digest(self, spec: TaskSpec) -> StoredEdition | None:
        if spec.digest is None:
            return None
        entries = self._parts.store.editions_of(spec.task_id)
        return next((entry for entry in entries if entry.is_sealed and not entry.is_locked), None)

    async def _wait(
        self, run: DownloadRun, on_progress: Callable[[DownloadProgress], None]
    ) -> None:
        told: DownloadProgress | None = None
        while not run.outcome.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_S):
                    await asyncio.shield(run.outcome)
            progress = run.progress()
            if progress != told:
                on_progress(progress)
                told = progress

    async def _hand_out(
        self,
        entry: StoredEdition,
        request: DownloadRequest,
        started_s: float,
        bytes_by: ProviderBytes,
        run: DownloadRun | None = None,
    ) -> DownloadFinished:
        entry.pin()
        content_path = entry.content_path
        try:
            if request.is_placed:
                content_path = await asyncio.to_thread(entry.take_plain)
        except BaseException:
            entry.unpin()
            raise
        self._next_id += 1
        download_id = str(self._next_id)
        self._handed_out[download_id] = entry
        edition = entry.edition
        saved = run.opened.saved if run and run.opened else Saved()
        return DownloadFinished(
            download_id=download_id,
            content_path=content_path,
            size_bytes=edition.size_bytes or 0,
            digest=str(edition.digest or ""),
            task_id=edition.task_id,
            edition_id=edition.edition_id,
            bytes_by=bytes_by,
            seconds=round(now_s() - started_s, 4),
            retry_count=run.mind.retry_count if run else 0,
            is_stale=run.tally.is_stale if run else False,
            notes=tuple(run.tally.notes) if run else (),
            saved_bytes=saved.wire_bytes,
            codec_cpu_s=round(saved.cpu_s, 4),
        )

    # --- session

    def on_session(self) -> None:
        """The session is open, for the first time or again: tell it what is wanted."""
        for run in self._runs.values():
            run.on_session()

    def on_session_lost(self) -> None:
        """The session ended."""
        for run in self._runs.values():
            run.on_session_lost()

    def on_message(self, message: wire.SuperNodeMessage) -> None:
        """Pass a message to the run that it is about."""
        match message:
            case wire.Welcome() | wire.HoldersTold() | wire.Warm() | wire.StopWarming():
                pass
            case wire.Busy():
                self._join_later(message)
            case wire.Banned():
                for run in self._runs.values():
                    run.on_message(message)
            case _:
                if TaskId(message.task_id) in self._runs:
                    self._runs[TaskId(message.task_id)].on_message(message)

    def _join_later(self, message: wire.Busy) -> None:
        """Join again when a busy SuperNode may be asked again, with jitter."""
        run = self._runs.get(TaskId(message.task_id))
        if run is not None:
            pause_s = pause_told(message.retry_after_s, self._parts.rng)
            log.info("supernode_busy", task=message.task_id, retry_after_s=pause_s)
            asyncio.get_running_loop().call_later(pause_s, run.on_session)

    def end(self) -> None:
        """Stop all downloads; what they have is kept."""
        for run in self._runs.values():
            run.cancel()


async def _settled(run: DownloadRun) -> None:
    """Let what is here whole be sealed, for a moment at most.

    Who reads along has the last byte before that, and goes. Without a seal the run would count
    as given up, and those who miss something would lose their links to this host.
    """
    entry = run.entry
    if entry is None or entry.edition.size_bytes is None:
        return
    if len(entry.held) == entry.edition.layout.block_count:
        await asyncio.wait([run.outcome], timeout=SETTLE_S)


async def _in_time(request: DownloadRequest, work: Coroutine[object, object, T]) -> T:
    """Do what a request wants in the time that it gives.

    Raises:
        DownloadTimeoutError: It took longer.
    """
    try:
        async with asyncio.timeout(request.timeout_s or None):
            return await work
    except TimeoutError as exc:
        raise DownloadTimeoutError(timeout_s=request.timeout_s) from exc


@contextlib.contextmanager
def _logged(spec: TaskSpec) -> Iterator[None]:
    """Write one line about a download that is handed out as a file."""
    started_s = now_s()
    outcome = "finished"
    try:
        yield
    except BaseException as exc:
        outcome = "cancelled" if isinstance(exc, asyncio.CancelledError) else "failed"
        raise
    finally:
        log.info(
            "download_ended",
            outcome=outcome,
            url=spec.display_url,
            task=spec.task_id,
            seconds=round(now_s() - started_s, 3),
        )
