"""Carries out preheat jobs: what next, how it went, and all of it written down.

A job waits in a queue by priority and hours. Its contents are found out, then warmed, some at
a time over all jobs. Two jobs that share a content wait for one seeding of it. What happens
to a job is decided by `core/preheating/jobs.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from damselfly.clock import local_minute
from damselfly.core.digest import Digest
from damselfly.core.hours import Hours
from damselfly.core.peer import HostId
from damselfly.core.preheating.jobs import SUPERNODE_PLACE, Content, Job, Kind, State, Wanted
from damselfly.core.preheating.queueing import JobQueue
from damselfly.core.preheating.targets import Chosen, Target, TargetKind
from damselfly.core.task import TaskSpec
from damselfly.errors import (
    DamselflyError,
    JobUnknownError,
    SourceRefusedError,
    TargetEmptyError,
)
from damselfly.services.options import PreheatOptions
from damselfly.services.preheating.job_store import JobStore
from damselfly.services.preheating.resolving import Resolving
from damselfly.services.preheating.schedules import next_run_s
from damselfly.services.preheating.secrets_kept import NO_SECRETS, Secrets
from damselfly.services.preheating.swarm import Seeder, Warmer
from damselfly.services.seeding.pacing import Pace, Pacing
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.throttle import Throttle

JOBS_KEPT_MAX: Final = 10_000  # that are over; some 2 KB each
TICK_S: Final = 1.0
BUSY_S: Final = 0.02  # how late the loop is while a thousand webhooks a second come in
PAUSE_S: Final = 0.05
RESOLVING: Final = -1  # in place of the index of a content
UNAUTHORIZED: Final = (401, 403)

Work = tuple[int, int]
"""A job, and the index of the content that is warmed."""

log = get_log()


class Preheating:
    """All preheat jobs of a SuperNode."""

    def __init__(
        self,
        options: PreheatOptions,
        *,
        store: JobStore,
        resolving: Resolving,
        seeder: Seeder,
        warmer: Warmer,
        pacing: Pacing,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
        wall_s: Callable[[], float],
        loop_delay_s: Callable[[], float],
    ) -> None:
        self._options = options
        self._store = store
        self._resolving = resolving
        self._seeder = seeder
        self._warmer = warmer
        self._pacing = pacing
        self._metrics = metrics
        self._tasks = tasks
        self._wall_s = wall_s
        self._loop_delay_s = loop_delay_s
        self._pumping: asyncio.TimerHandle | None = None
        self._hours = Hours.parse(options.hours)
        self._queue = JobQueue()
        self._jobs: dict[int, Job] = {}
        self._by_key: dict[str, int] = {}
        self._over: dict[int, None] = {}  # jobs that are over, the one that ended first, first
        self._secrets: dict[int, Secrets] = {}
        self._throttles: dict[int, Throttle] = {}
        self._running: dict[Work, asyncio.Task[None]] = {}
        self._specs: dict[Work, TaskSpec] = {}
        self._changed: dict[int, None] = {}  # to be written down soon
        self._last_id = 0
        self._is_closing = False

    # --- what may be asked

    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        return [self._seen(job) for _, job in sorted(self._jobs.items(), reverse=True)]

    def job(self, job_id: str) -> Job:
        """Return a job with how far it is at this moment.

        Raises:
            JobUnknownError: There is none of this number.
        """
        job = self._jobs.get(int(job_id)) if job_id.isascii() and job_id.isdecimal() else None
        if job is None:
            raise JobUnknownError(job_id=job_id[:40])
        return self._seen(job)

    def _seen(self, job: Job) -> Job:
        if job.state is State.RUNNING:
            for index, item in enumerate(job.items):
                spec = self._specs.get((job.job_id, index))
                if spec is not None and item.places[SUPERNODE_PLACE].state is State.RUNNING:
                    done, size = self._seeder.progress(spec.task_id)
                    job.on_progress(index, SUPERNODE_PLACE, done_bytes=done, size_bytes=size)
        return job

    async def submit(self, wanted: Wanted, secrets: Secrets = NO_SECRETS) -> tuple[Job, bool]:
        """Return the job for what is wanted, and whether it is new; it survives a kill.

        Raises:
            StorageError: It cannot be written down.
        """
        job, is_new = self.accept(wanted, secrets)
        await self.keep([job])
        return job, is_new

    def accept(self, wanted: Wanted, secrets: Secrets = NO_SECRETS) -> tuple[Job, bool]:
        """Begin a job, or the same job again; to be followed by `keep`."""
        job_id = self._by_key.get(wanted.key)
        if job_id is None:
            self._last_id += 1
            job = Job(job_id=self._last_id, wanted=wanted, created_s=self._wall_s())
            self._add(job)
        else:
            job = self._jobs[job_id]
            job.wanted = wanted
            if job.state.is_over:
                job.run_again()
                self._over.pop(job.job_id, None)
        if secrets:
            self._secrets[job.job_id] = secrets
        job.needs_secrets = bool(secrets)
        if job.state is State.PENDING or job.is_resolved:  # it may have another priority now
            self._enqueue(job)
        return job, job_id is None

    async def keep(self, jobs: Iterable[Job], events: Iterable[str] = ()) -> None:
        """Write down jobs and the events that caused them, and let them begin.

        Raises:
            StorageError: It cannot be done; jobs that had not been before are no more.
        """
        jobs = list(jobs)
        try:
            await self._store.put(jobs, events, now_s=self._wall_s())
        except DamselflyError:
            for job in jobs:
                self._queue.discard(job.job_id)
                if job.run_count == 0:
                    self._forget(job)
            raise
        self._pump()

    async def plan(self, wanted: Wanted) -> None:
        """See that a job of the settings runs when its cron says; a new one runs at once.

        Raises:
            UsageError: Its cron says nothing.
        """
        due_s = next_run_s(wanted.cron, after_s=self._wall_s())
        job_id = self._by_key.get(wanted.key)
        if job_id is None or self._jobs[job_id].next_run_s == 0:
            await self.submit(wanted)
            return
        job = self._jobs[job_id]
        job.wanted, job.next_run_s = wanted, due_s
        self._changed[job_id] = None

    def cancel(self, job_id: str) -> Job:
        """End a job and its schedule; one that is over stays as it is.

        Raises:
            JobUnknownError: There is none of this number.
        """
        job = self.job(job_id)
        was_over = job.state.is_over
        if not job.cancel(now_s=self._wall_s()):
            return job
        if was_over:  # of its schedule alone
            self._secrets.pop(job.job_id, None)
            self._changed[job.job_id] = None
        else:
            self._stop(job)
            self._on_change(job)
        return job

    # --- life

    async def open(self) -> list[tuple[str, float]]:
        """Go on with the jobs of before; return the events that were taken in."""
        kept = await self._store.open(now_s=self._wall_s())
        for job in kept.jobs:
            self._add(job)
            job.put_back()
            if job.state is State.PENDING:
                self._enqueue(job)
        self._last_id = max(self._jobs, default=0)
        return kept.events

    async def run(self) -> None:
        """Look at the clock now and then, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """See what time it is: hours end, schedules are due; and write down what has changed."""
        now_s = self._wall_s()
        self._keep_hours(local_minute(now_s))
        for job in list(self._jobs.values()):
            if 0 < job.next_run_s <= now_s and job.state.is_over:
                self.accept(job.wanted, self._secrets.get(job.job_id, NO_SECRETS))
                self._changed[job.job_id] = None
        self._pump()
        self._write_changed()

    async def close(self) -> None:
        """Stop where things are, and write that down: they go on after a restart."""
        self._is_closing = True
        if self._pumping is not None:
            self._pumping.cancel()
        running = list(self._running.values())
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running)
        self._write_changed()
        await self._store.close()

    def _write_changed(self) -> None:
        changed, self._changed = self._changed, {}
        jobs = [self._jobs[job_id] for job_id in changed if job_id in self._jobs]
        if jobs:
            self._store.put(jobs)

    def _keep_hours(self, minute: int) -> None:
        """Put back what runs out of its hours; what came is kept."""
        for job in {job_id: self._jobs[job_id] for job_id, _ in self._running}.values():
            if minute not in self._hours_of(job) and job.state is State.RUNNING:
                self._stop(job)
                job.put_back()
                self._enqueue(job)
                self._changed[job.job_id] = None

    def _hours_of(self, job: Job) -> Hours:
        return Hours.parse(job.wanted.hours) if job.wanted.hours else self._hours

    # --- jobs

    def _add(self, job: Job) -> None:
        self._jobs[job.job_id] = job
        self._by_key[job.wanted.key] = job.job_id
        if job.state.is_over:
            self._over[job.job_id] = None

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.job_id, None)
        self._by_key.pop(job.wanted.key, None)
        self._over.pop(job.job_id, None)
        self._secrets.pop(job.job_id, None)

    def _enqueue(self, job: Job) -> None:
        self._queue.add(job.job_id, priority=job.wanted.priority, hours=self._hours_of(job))

    def _stop(self, job: Job) -> None:
        self._queue.discard(job.job_id)
        for (job_id, _), running in list(self._running.items()):
            if job_id == job.job_id:
                running.cancel()

    def _on_change(self, job: Job) -> None:
        """Something of a job ended, perhaps all of it."""
        self._changed[job.job_id] = None
        if not job.state.is_over:
            return
        self._queue.discard(job.job_id)
        self._throttles.pop(job.job_id, None)
        if job.wanted.cron and job.state is not State.CANCELLED:
            job.next_run_s = next_run_s(job.wanted.cron, after_s=self._wall_s())
        else:
            self._secrets.pop(job.job_id, None)
        self._metrics.preheats.labels(job.state.value).inc()
        log.info(
            "preheat_ended",
            job=job.job_id,
            state=job.state.value,
            contents=len(job.items),
            target=job.wanted.target,
            seconds=round(job.finished_s - (job.started_s or job.created_s), 3),
            reason=job.error,
        )
        self._over[job.job_id] = None
        while len(self._over) > JOBS_KEPT_MAX:
            oldest = next(iter(self._over))
            self._forget(self._jobs[oldest])
            self._store.forget([oldest])
        self._write_changed()

    # --- work

    def _pump(self) -> None:
        """Begin what may run now; who asks something of a busy SuperNode is answered first."""
        if self._is_closing or self._pumping is not None:
            return
        if self._loop_delay_s() > BUSY_S:
            self._pumping = asyncio.get_running_loop().call_later(PAUSE_S, self._pump_again)
            return
        minute = local_minute(self._wall_s())
        while len(self._running) < self._options.concurrent:
            job_id = self._queue.next(minute=minute)
            if job_id is None:
                return
            if not self._start(self._jobs[job_id]):
                self._queue.discard(job_id)

    def _pump_again(self) -> None:
        self._pumping = None
        self._pump()

    def _start(self, job: Job) -> bool:
        """Begin the next piece of a job; False: there is none now."""
        if job.state is State.PENDING:
            job.begin(now_s=self._wall_s())
        if not job.is_resolved:
            self._spawn(job, RESOLVING, self._resolve(job))
            return False
        index = job.start_next()
        if index is None:
            return False
        self._spawn(job, index, self._warm(job, index))
        return True

    def _spawn(self, job: Job, index: int, work: Awaitable[None]) -> None:
        key = (job.job_id, index)

        async def run() -> None:
            try:
                await work
            except DamselflyError as exc:
                self._fail(job, index, exc)
            except Exception as exc:  # a supervisor: this piece of a job ends
                log.exception("preheat_broke", job=job.job_id)
                self._fail(job, index, DamselflyError(f"a bug of ours ended it: {exc!r}"))
            finally:
                if self._running.get(key) is task:
                    del self._running[key]
                    self._specs.pop(key, None)
                self._pump()

        task = self._running[key] = self._tasks.create_task(run(), name=f"preheat {key}")

    def _fail(self, job: Job, index: int, error: DamselflyError) -> None:
        if index == RESOLVING and job.state is State.RUNNING:
            job.fail(self._told(job, error), now_s=self._wall_s())
            self._on_change(job)
        elif index != RESOLVING:
            for place in job.items[index].places:
                self._on_place_ended(job, index, place, error)

    def _told(self, job: Job, error: DamselflyError) -> str:
        """Return an error in the words of a job."""
        refused = isinstance(error, SourceRefusedError) and error.status in UNAUTHORIZED
        if refused and job.needs_secrets and job.job_id not in self._secrets:
            return f"{error}; what it was started with is not kept over a restart: start it again"
        if refused:
            return f"{error}, or set auth_file of this registry in the SuperNode's settings"
        return str(error)

    async def _resolve(self, job: Job) -> None:
        secrets = self._secrets.get(job.job_id, NO_SECRETS)
        chosen = self._choose(job)
        pace = self._pace(job)
        contents = await self._resolving.contents(job.wanted, secrets.headers, pace)
        if job.state is not State.RUNNING:
            return
        job.resolve(contents, (*chosen.host_ids, *chosen.missing))
        for index in range(len(job.items)):
            for host_id in chosen.missing:
                error = DamselflyError("it is not here, or cannot be told to warm anything")
                self._on_place_ended(job, index, host_id, error)
        self._changed[job.job_id] = None
        self._enqueue(job)

    def _choose(self, job: Job) -> Chosen:
        """Return the hosts of a job.

        Raises:
            TargetEmptyError: There are none.
        """
        target = Target.parse(job.wanted.target)
        chosen = target.choose(self._warmer.hosts(), job=job.wanted.key)
        if target.kind is not TargetKind.SUPERNODE and not chosen.host_ids:
            raise TargetEmptyError(target=str(target))
        return chosen

    def _pace(self, job: Job) -> Pace:
        """Return a pace; all contents of a job share its limit."""
        throttle = self._throttles.get(job.job_id)
        if throttle is None:
            throttle = self._throttles[job.job_id] = Throttle(job.wanted.rate_bytes_per_s)
        return Pace(self._pacing, throttle)

    async def _warm(self, job: Job, index: int) -> None:
        """Warm one content at all its places."""
        spec = await self._spec(job, job.items[index].content)
        self._specs[job.job_id, index] = spec
        async with asyncio.TaskGroup() as tasks:
            for place, progress in job.items[index].places.items():
                if progress.state is State.RUNNING:
                    tasks.create_task(self._warm_at(job, index, place, spec))

    async def _spec(self, job: Job, content: Content) -> TaskSpec:
        secrets = self._secrets.get(job.job_id, NO_SECRETS)
        headers = secrets.headers
        if not headers and job.wanted.kind is not Kind.FILE:
            headers = await self._resolving.headers_of(content)
        if content.accept:
            headers = (*headers, ("Accept", content.accept))
        return TaskSpec(
            url=secrets.urls.get(content.url, content.url),
            digest=Digest.parse(content.digest) if content.digest else None,
            tag=job.wanted.tag,
            filtered_query=job.wanted.filtered_query,
            headers=headers,
        )

    async def _warm_at(self, job: Job, index: int, place: str, spec: TaskSpec) -> None:
        error: DamselflyError | None = None

        def on_progress(done_bytes: int, size_bytes: int) -> None:
            if job.state is State.RUNNING:
                job.on_progress(index, place, done_bytes=done_bytes, size_bytes=size_bytes)

        try:
            if place == SUPERNODE_PLACE:
                size = job.items[index].content.size_bytes
                entry = await self._seeder.seed(spec, self._pace(job), size_bytes=size)
                size = entry.edition.size_bytes or 0
                entry.unpin()
            else:
                size = await self._warmer.warm(HostId(place), spec, self._pace(job), on_progress)
            on_progress(size, size)
        except DamselflyError as exc:
            error = exc
        self._on_place_ended(job, index, place, error)

    def _on_place_ended(
        self, job: Job, index: int, place: str, error: DamselflyError | None
    ) -> None:
        told = self._told(job, error) if error else ""
        job.on_place_ended(index, place, error=told, now_s=self._wall_s())
        self._on_change(job)
