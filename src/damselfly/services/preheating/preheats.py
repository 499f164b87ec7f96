"""The parts of preheating at a SuperNode, put together, from its start to its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from damselfly.clock import wall_s
from damselfly.core.preheating.jobs import Wanted
from damselfly.core.preheating.seen_events import SeenEvents
from damselfly.services.options import ScheduleOptions, SuperNodeOptions
from damselfly.services.preheating.job_store import JobStore
from damselfly.services.preheating.logins import Logins
from damselfly.services.preheating.preheating import Preheating
from damselfly.services.preheating.pushed import Pushed
from damselfly.services.preheating.resolving import Resolving
from damselfly.services.preheating.swarm import Seeder, Warmer
from damselfly.services.registries import Registries
from damselfly.services.seeding.pacing import Pacing
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.image_names import is_file
from damselfly.wire.preheat_messages import PreheatRequest


@dataclass(frozen=True, slots=True)
class Preheats:
    """What others use of them."""

    preheating: Preheating
    pushed: Pushed
    warmer: Warmer


@contextlib.asynccontextmanager
async def running_preheats(
    options: SuperNodeOptions,
    *,
    source: HttpSource,
    seeder: Seeder,
    warmer: Warmer,
    pacing: Pacing,
    metrics: Metrics,
    tasks: asyncio.TaskGroup,
    loop_delay_s: Callable[[], float],
) -> AsyncIterator[Preheats]:
    """Carry preheats out inside the block.

    Raises:
        StorageUnusableError: What was written down before cannot be read.
        UsageError: A schedule of the settings makes no sense.
    """
    store = JobStore(Path(options.data) / "preheats.db")
    preheating = Preheating(
        options.preheat,
        store=store,
        resolving=Resolving(
            Registries(options.registries),
            Logins(options.registries, source),
            source=source,
            seeder=seeder,
        ),
        seeder=seeder,
        warmer=warmer,
        pacing=pacing,
        metrics=metrics,
        tasks=tasks,
        wall_s=wall_s,
        loop_delay_s=loop_delay_s,
    )
    events = await preheating.open()
    for each in options.preheat.schedules:
        await preheating.plan(_scheduled(each))
    pushed = Pushed(options.preheat, preheating, SeenEvents(events), metrics=metrics, tasks=tasks)
    running = tasks.create_task(preheating.run(), name="preheats")
    try:
        yield Preheats(preheating, pushed, warmer)
    finally:
        running.cancel()
        await preheating.close()


def _scheduled(each: ScheduleOptions) -> Wanted:
    request = PreheatRequest(
        images=[] if is_file(each.image) else [each.image],
        urls=[each.image] if is_file(each.image) else [],
        platforms=list(each.platforms),
        target=each.target,
        cron=each.cron,
    )
    (wanted,) = request.wanted()
    return wanted
