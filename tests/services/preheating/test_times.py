"""Guards what preheats do at which time: hours that open and end, schedules, clocks that change."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from damselfly.core.preheating.jobs import Job, Kind, State, Wanted
from damselfly.core.task import TaskId, TaskSpec
from damselfly.errors import UsageError
from damselfly.services.options import PreheatOptions
from damselfly.services.preheating.job_store import JobStore
from damselfly.services.preheating.logins import Logins
from damselfly.services.preheating.preheating import Preheating
from damselfly.services.preheating.resolving import Resolving
from damselfly.services.preheating.schedules import next_run_s
from damselfly.services.registries import Registries
from damselfly.services.seeding.pacing import Pace, Pacing
from damselfly.services.supernode.host_warming import HostWarming
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.sources.http import HttpSource
from storage.builders import HandClock, a_content, an_edition, seal


def at(hour: int, minute: int = 0, *, day: int = 5) -> float:
    """Return a moment of January 2026 in seconds since 1970, by this machine's clocks."""
    return datetime(2026, 1, day, hour, minute).astimezone().timestamp()


class Cache:
    """A SuperNode whose cache has a content whole as soon as the test lets it come."""

    def __init__(self) -> None:
        self.store = MemoryStore(now_wall_s=HandClock())
        self._entry = self.store.open(an_edition())
        seal(self._entry, a_content())
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.comes = asyncio.Event()
        self.loop_delay_s = 0.0

    async def seed(
        self,
        spec: TaskSpec,
        pace: Pace,  # noqa: ARG002
        *,
        size_bytes: int = -1,  # noqa: ARG002
    ) -> StoredEdition:
        self.begun.append(spec.url)
        try:
            await self.comes.wait()
        except asyncio.CancelledError:
            self.stopped.append(spec.url)
            raise
        self._entry.pin()
        return self._entry

    def progress(self, task_id: TaskId) -> tuple[int, int]:  # noqa: ARG002
        return 0, -1


class Night:
    """Preheats with a clock, and a cache, in the test's hand."""

    def __init__(self, preheating: Preheating, clock: HandClock, cache: Cache) -> None:
        self.preheating, self.clock, self.cache = preheating, clock, cache

    async def go_to(self, wall_s: float) -> None:
        """Let it be so late, and see what comes of it."""
        self.clock.wall_s = wall_s
        self.preheating.look()
        await self.settled()

    async def settled(self) -> None:
        """Let run what can run by now; nothing here waits for anything but the test."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def ended(self, job: Job) -> None:
        async with asyncio.timeout(5):
            while not job.state.is_over:
                await asyncio.sleep(0)

    async def begin(self, **wanted: Any) -> Job:  # noqa: ANN401
        name = wanted.pop("name", "http://source.test/file")
        job, _ = await self.preheating.submit(Wanted(kind=Kind.FILE, names=(name,), **wanted))
        await self.settled()
        return job


@contextlib.asynccontextmanager
async def a_night(
    folder: Path,
    clock: HandClock,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[Night]:
    source = HttpSource(connect_timeout_s=2, stall_timeout_s=2, connections_max=2)
    cache = Cache()
    async with asyncio.TaskGroup() as tasks:
        preheating = Preheating(
            PreheatOptions(**options),
            store=JobStore(folder / "preheats.db"),
            resolving=Resolving(Registries(()), Logins((), source), source=source, seeder=cache),
            seeder=cache,
            warmer=HostWarming(hosts=list, post=lambda *_: None),
            pacing=Pacing(trickle_bytes_per_s=1.0),
            metrics=Metrics(),
            tasks=tasks,
            wall_s=clock,
            loop_delay_s=lambda: cache.loop_delay_s,
        )
        await preheating.open()
        try:
            yield Night(preheating, clock, cache)
        finally:
            await preheating.close()
            await source.close()
            cache.store.close()


@pytest.fixture
def clock() -> HandClock:
    clock = HandClock()
    clock.wall_s = at(12)
    return clock


async def test_job_begins_when_its_hours_do_and_waits_again_when_they_end(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock) as night:
        job = await night.begin(hours="22:00-06:00")
        told = [job.state]
        for moment in (at(21, 59), at(22), at(5, 59, day=6), at(6, day=6), at(22, day=6)):
            await night.go_to(moment)
            told.append(job.state)

        waiting, running = State.PENDING, State.RUNNING
        assert told == [waiting, waiting, running, running, waiting, running]
        assert night.cache.stopped == [*job.wanted.names]
        night.cache.comes.set()
        await night.ended(job)
        assert (job.state, job.run_count, job.finished_s) == (State.SUCCESS, 2, at(22, day=6))


async def test_hours_of_the_settings_are_for_jobs_without_their_own(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock, hours="22:00-24:00") as night:
        usual = await night.begin()
        always = await night.begin(name="http://source.test/other", hours="0:00-24:00")

        assert (usual.state, always.state) == (State.PENDING, State.RUNNING)
        await night.go_to(at(23, 59))
        assert usual.state is State.RUNNING
        await night.go_to(at(0, day=6))
        assert (usual.state, always.state) == (State.PENDING, State.RUNNING)


async def test_job_with_a_schedule_runs_at_once_and_then_whenever_it_is_due(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock) as night:
        night.cache.comes.set()
        job = await night.begin(cron="0 3 * * *")
        await night.ended(job)
        assert (job.run_count, job.next_run_s) == (1, at(3, day=6))

        await night.go_to(at(2, 59, day=6))
        assert job.run_count == 1
        await night.go_to(at(3, day=6))
        await night.ended(job)
        assert (job.run_count, job.state) == (2, State.SUCCESS)
        assert job.next_run_s == at(3, day=7)


async def test_run_that_takes_longer_than_its_schedule_is_not_run_twice_at_once(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock) as night:
        job = await night.begin(cron="0 * * * *")
        for hour in (13, 14, 15):
            await night.go_to(at(hour))
        assert (job.run_count, len(night.cache.begun)) == (1, 1)
        night.cache.comes.set()
        await night.ended(job)
        assert job.next_run_s == at(16)


async def test_cancelled_schedule_runs_no_more(tmp_path: Path, clock: HandClock) -> None:
    async with a_night(tmp_path, clock) as night:
        night.cache.comes.set()
        job = await night.begin(cron="0 3 * * *")
        await night.ended(job)
        night.preheating.cancel(str(job.job_id))
        await night.go_to(at(3, day=6))

        assert (job.run_count, job.next_run_s) == (1, 0.0)


async def test_what_was_due_while_nothing_ran_runs_once_after_it(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock) as night:
        night.cache.comes.set()
        job = await night.begin(cron="0 3 * * *")
        await night.ended(job)
    clock.wall_s = at(9, day=9)
    async with a_night(tmp_path, clock) as night:
        night.cache.comes.set()
        await night.go_to(at(9, day=9))
        job = night.preheating.job(str(job.job_id))
        await night.ended(job)

        assert (job.run_count, len(night.cache.begun)) == (2, 1)
        assert job.next_run_s == at(3, day=10)


async def test_schedule_of_the_settings_goes_on_where_it_was(
    tmp_path: Path, clock: HandClock
) -> None:
    wanted = Wanted(kind=Kind.FILE, names=("http://source.test/file",), cron="0 3 * * *")
    for _ in range(2):  # a restart is no reason to run it
        async with a_night(tmp_path, clock) as night:
            night.cache.comes.set()
            await night.preheating.plan(wanted)
            await night.settled()
            (job,) = night.preheating.jobs()
            await night.ended(job)
            assert (job.run_count, job.next_run_s) == (1, at(3, day=6))


async def test_repeat_with_another_priority_goes_to_its_new_place(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock, concurrent=1) as night:
        await night.begin(name="http://source.test/a", hours="12:00-13:00")
        for name in ("b", "c"):
            await night.begin(name=f"http://source.test/{name}")
        await night.begin(name="http://source.test/c", priority=9)
        await night.go_to(at(13))  # the first one is put back, and another one may begin

        assert [url[-1] for url in night.cache.begun] == ["a", "c"]


async def test_busy_supernode_begins_nothing_until_it_has_answered_others(
    tmp_path: Path, clock: HandClock
) -> None:
    async with a_night(tmp_path, clock) as night:
        night.cache.comes.set()
        night.cache.loop_delay_s = 0.1
        job = await night.begin()
        assert (job.state, night.cache.begun) == (State.PENDING, [])

        night.cache.loop_delay_s = 0.0
        await night.ended(job)
        assert job.state is State.SUCCESS


@pytest.fixture
def berlin() -> Iterator[None]:
    """Let it be the time of Berlin: an hour ahead from March on, and back in October."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def runs(text: str, since: str, count: int) -> list[str]:
    """Return when a schedule runs, each run asked for after the one before."""
    moment_s, told = datetime.fromisoformat(since).timestamp(), list[str]()
    for _ in range(count):
        moment_s = next_run_s(text, after_s=moment_s + 0.5)
        told.append(datetime.fromtimestamp(moment_s).astimezone().isoformat()[5:])
    return told


@pytest.mark.usefixtures("berlin")
def test_schedule_keeps_to_the_clock_on_the_wall_when_that_is_changed() -> None:
    assert runs("0 3 * * *", "2026-10-24T12:00+02:00", 2) == [
        "10-25T03:00:00+01:00",
        "10-26T03:00:00+01:00",
    ]
    assert runs("30 2 * * *", "2026-10-24T12:00+02:00", 2) == [  # once, though it is 2:30 twice
        "10-25T02:30:00+02:00",
        "10-26T02:30:00+01:00",
    ]
    assert runs("30 2 * * *", "2026-03-28T12:00+01:00", 2) == [  # there is no 2:30
        "03-29T03:00:00+02:00",
        "03-30T02:30:00+02:00",
    ]
    assert runs("*/30 * * * *", "2026-10-25T02:10+02:00", 3) == [
        "10-25T02:30:00+02:00",
        "10-25T02:00:00+01:00",
        "10-25T02:30:00+01:00",
    ]


@pytest.mark.parametrize("text", ["", "soon", "61 * * * *", "0 0 31 2 *", "* * * *"])
def test_schedule_that_never_comes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="0 3 "):
        next_run_s(text, after_s=at(12))
