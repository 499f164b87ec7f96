"""Spans of an edition from its source: asked for, asked for again, read into the store.

Used for whole editions (`seeding.py`), and by hosts for the spans that nobody else has.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from damselfly.clock import now_s
from damselfly.core.blocks import Span
from damselfly.core.budgeting import retry_after_s
from damselfly.core.downloading.backoff import Backoff
from damselfly.core.ranging import Part, Ranging
from damselfly.core.task import Edition, TaskId, TaskSpec, Validators
from damselfly.core.urls import host_of
from damselfly.errors import SourceRefusedError, SourceUnreachableError
from damselfly.services.options import SourceOptions
from damselfly.services.seeding.pacing import PACED_PART_BYTES, Pace, PacedLimit
from damselfly.services.seeding.ranged import RANGED_BYTES_MIN, RangedReading, gives_parts
from damselfly.services.seeding.reading import PART_BYTES, BlockReader, Buffers, Intake
from damselfly.services.seeding.sameness import check_same
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.provider import Source, SourceReading
from damselfly.transport.throttle import Throttle

RETRY_S: Final = 0.2
RETRY_S_MAX: Final = 10.0
RETRY_AFTER_S_MAX: Final = 30.0  # who asks for longer is told to whoever waits
TOO_MANY: Final = 429
PARTIAL: Final = 206
SERVER_ERRORS: Final = range(500, 600)


class Asking:
    """Asks sources for contents and spans of them, and reads the answers into entries.

    Attributes:
        pacers: {task: what holds back its reading}, of those that are not urgent.
        backoff: How long to wait before asking again.
        sleep: Waits.
    """

    def __init__(
        self,
        source: Source,
        options: SourceOptions,
        *,
        link_rate_bytes_per_s: float,
        metrics: Metrics,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._options = options
        self._link_rate = link_rate_bytes_per_s
        self._metrics = metrics
        self.backoff = Backoff(RETRY_S, RETRY_S_MAX, rng)
        self.sleep = sleep
        self.pacers: dict[TaskId, Pace] = {}
        # {host of a source: its limit}; a fleet asks a handful of sources.
        self._throttles: dict[str, Throttle] = defaultdict(
            lambda: Throttle(options.rate_bytes_per_s)
        )
        # {host of a source: connections that its contents may have besides their first ones}.
        # Some are left for others: who wants a few bytes would wait for a part to end.
        left = max(options.connections_max // 5, 1)
        self._more_max = max(options.connections_max - left - 1, 1)
        self._more: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(self._more_max)
        )

    async def ask(
        self, spec: TaskSpec, edition: Edition | None = None, span: Span | None = None
    ) -> SourceReading:
        """Ask the source for all, or for one span; asks again when it does not answer.

        Raises:
            SourceError: It did not answer, or refused.
        """
        attempt = 0
        while True:
            self._metrics.source_requests.labels("read").inc()
            try:
                if edition is None or span is None:
                    return await self._source.read(spec)
                return await self._source.read(
                    spec,
                    start_byte=span.start_byte,
                    stop_byte=span.stop_byte,
                    # The digest of the whole says better what belongs together than the
                    # validators of this or that registry.
                    validators=Validators() if spec.digest else edition.validators,
                )
            except (SourceUnreachableError, SourceRefusedError) as exc:
                asked_s = retry_after_s(exc.http_headers)
                attempt += 1
                if _is_final(exc, asked_s) or attempt > self._options.retries_max:
                    raise
            await self.sleep(max(self.backoff.delay_s(attempt), asked_s))

    async def read_span(
        self, spec: TaskSpec, entry: StoredEdition, span: Span | None, intake: Intake
    ) -> None:
        """Read one span, None is all, from the source.

        Args:
            spec: What to ask for.
            entry: Where it goes.
            span: It begins where a block begins.
            intake: What becomes of its blocks.

        Raises:
            SourceError: The source did not give it, or has another edition.
        """
        async with await self.ask(spec, entry.edition, span) as reading:
            check_same(spec, entry.edition, reading.answer)
            await self._reader(spec, entry, reading, intake).read(reading)

    async def read_gaps(
        self, spec: TaskSpec, entry: StoredEdition, gaps: Sequence[Span], intake: Intake
    ) -> None:
        """Read spans that are missing.

        Raises:
            SourceError: As `read_span`.
        """
        if gaps:
            async with await self.ask(spec, entry.edition, gaps[0]) as first:
                check_same(spec, entry.edition, first.answer)
                await self.read_on(spec, entry, first, intake, gaps)

    async def read_on(
        self,
        spec: TaskSpec,
        entry: StoredEdition,
        reading: SourceReading,
        intake: Intake,
        gaps: Sequence[Span] = (),
    ) -> None:
        """Read an open answer, of all or of the first gap, and the other gaps behind it.

        Over more connections, where that is faster.

        Raises:
            SourceError: As `read_span`.
        """
        if reading.answer.status != PARTIAL:  # all of it, whatever is missing
            gaps = [Span(0, entry.edition.size_bytes or 0)]
        missing_bytes = sum(map(len, gaps))
        is_worth_it = missing_bytes >= RANGED_BYTES_MIN
        if is_worth_it and gives_parts(spec, entry.edition, reading.answer):
            await self._read_ranged(spec, entry, reading, intake, gaps)
            return
        await self._reader(spec, entry, reading, intake).read(reading)
        for span in gaps[1:]:
            await self.read_span(spec, entry, span, intake)

    async def _read_ranged(
        self,
        spec: TaskSpec,
        entry: StoredEdition,
        reading: SourceReading,
        intake: Intake,
        gaps: Sequence[Span],
    ) -> None:
        edition, options = entry.edition, self._options
        connections_max = min(self._more_max + 1, options.connections_max)
        ranging = Ranging(
            gaps,
            block_bytes=edition.block_bytes,
            connections_max=connections_max,
            enough_bytes_per_s=min(self._link_rate, options.rate_bytes_per_s or self._link_rate),
        )
        buffers = Buffers(
            edition.block_bytes,
            readings_max=connections_max,
            workers=intake.workers(edition),
        )

        async def read_part(
            part: Part, *, on_bytes: Callable[[int], None], stop_at: Callable[[], int]
        ) -> None:
            def reader(of: SourceReading) -> BlockReader:
                return self._reader(
                    *(spec, entry, of, intake), buffers=buffers, on_bytes=on_bytes, stop_at=stop_at
                )

            if part.span == gaps[0]:
                await reader(reading).read(reading)
                return
            more = self._more[host_of(spec.url)]
            async with more, await self.ask(spec, edition, part.span) as own:
                check_same(spec, edition, own.answer)
                await reader(own).read(own)

        await RangedReading(ranging, read_part=read_part, now_s=now_s).read()

    def _reader(
        self,
        spec: TaskSpec,
        entry: StoredEdition,
        reading: SourceReading,
        intake: Intake,
        *,
        buffers: Buffers | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        stop_at: Callable[[], int | None] = lambda: None,
    ) -> BlockReader:
        def count(came_bytes: int) -> None:
            self._metrics.source_bytes.inc(came_bytes)
            on_bytes(came_bytes)

        limit = PacedLimit(
            self._throttles[host_of(spec.url)],
            partial(self.pacers.get, spec.task_id),
            spec.display_url,
            can_be_left=gives_parts(spec, entry.edition, reading.answer),
        )
        return BlockReader(
            entry,
            url=spec.display_url,
            throttle=limit,
            part_bytes=PACED_PART_BYTES if spec.task_id in self.pacers else PART_BYTES,
            intake=intake,
            buffers=buffers,
            on_bytes=count,
            stop_at=stop_at,
        )


def _is_final(exc: SourceUnreachableError | SourceRefusedError, asked_s: float) -> bool:
    """Say whether asking again, after the pause that a source asked for, makes no sense."""
    if isinstance(exc, SourceUnreachableError):
        return False
    may_come_again = exc.status in SERVER_ERRORS or (exc.status == TOO_MANY and asked_s > 0)
    return not may_come_again or asked_s > RETRY_AFTER_S_MAX
