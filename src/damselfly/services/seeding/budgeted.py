"""A source that is asked within its budget, and left alone while it is ill; see core/budgeting.

It wraps any kind of source in the same shape, so whoever reads need not know of it; the files of
a bundle and the pages of a listing are asked for one by one, and counted so. Who must wait for a
connection waits in line; who asks a source that is ill is told at once.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self, TypeVar

from damselfly.clock import local_minute, now_s
from damselfly.core.budgeting import BudgetRule, Circuit, budget_of, retry_after_s
from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.core.urls import host_of
from damselfly.errors import (
    SourceError,
    SourceIllError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.telemetry.log import get_log
from damselfly.transport.provider import SourceAnswer, SourceReading
from damselfly.transport.sources.by_scheme import KindOfSource
from damselfly.transport.throttle import Throttle

SERVER_ERRORS: Final = range(500, 600)
LOOK_S: Final = 30.0  # who waits looks again whether other hours have come

T = TypeVar("T")

log = get_log()


class _Line:
    """Connections in use under one budget, and who waits for one.

    Parts of contents wait apart from all else, and have every second turn: a large content
    wants many at a time, and a short one would come after all of them.
    """

    def __init__(self, rule: BudgetRule) -> None:
        self.throttle = Throttle(rule.rate_bytes_per_s)
        self._limit = rule.connections_max
        self._used = 0
        # {whether it is for a part: who waits}, the first of each first.
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {False: deque(), True: deque()}
        self._is_parts_turn = False

    async def enter(self, *, is_part: bool, holds: Callable[[], bool]) -> bool:
        """Take a connection, or wait for it; False: other hours have come, with another budget.

        Args:
            is_part: It is for a part of a content.
            holds: Says whether this is still the budget that holds.
        """
        if not self._limit or (self._used < self._limit and not any(self._waiting.values())):
            self._used += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[is_part]
        waiting.append(turn)
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=LOOK_S)
                if not turn.done() and not holds():
                    waiting.remove(turn)
                    return False
        except BaseException:
            if turn.done():
                self.leave()  # it came just now
            else:
                waiting.remove(turn)
            raise
        return True

    def leave(self) -> None:
        """Give a connection back; the next in line has it."""
        for is_part in (self._is_parts_turn, not self._is_parts_turn):
            if waiting := self._waiting[is_part]:
                waiting.popleft().set_result(None)
                self._is_parts_turn = not is_part
                return
        self._used -= 1


class Budgets:
    """What all kinds of sources of a process share.

    Attributes:
        failures_max: Failures in a row after which a host is left alone; 0 is never.
        circuits: {host of a source: its circuit}; a fleet asks a handful of sources.
    """

    def __init__(
        self,
        rules: Sequence[BudgetRule],
        *,
        failures_max: int,
        pause_s: float,
        minute: Callable[[], int] = local_minute,
    ) -> None:
        """Make budgets, of which nothing is used yet.

        Args:
            rules: The first that matches holds.
            failures_max: See above.
            pause_s: For how long a host is left alone, at first.
            minute: Returns the minute of the day.
        """
        self._rules = tuple(rules)
        self._minute = minute
        self._lines = {rule: _Line(rule) for rule in self._rules}
        self.failures_max = failures_max
        self.circuits: dict[str, Circuit] = defaultdict(
            lambda: Circuit(failures_max=failures_max, pause_s=pause_s)
        )

    def line_of(self, spec: TaskSpec) -> _Line | None:
        """Return where a request waits for its connection now; None: nowhere."""
        if not self._rules:
            return None  # the clock is asked for nothing else
        rule = budget_of(host_of(spec.url), self._rules, minute=self._minute())
        return None if rule is None else self._lines[rule]


class BudgetedSource:
    """A kind of source with budgets and circuits."""

    def __init__(self, source: KindOfSource, budgets: Budgets) -> None:
        self._source = source
        self._budgets = budgets

    async def close(self) -> None:
        """Close all connections."""
        await self._source.close()

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> SourceReading:
        """Ask for the content, or a part of it, as `Source.read`.

        Raises:
            SourceIllError: It is left alone at the moment.
            SourceError: As `Source.read`.
        """
        self._check(spec)
        is_part = start_byte > 0 or stop_byte is not None
        line = await self._enter(spec, is_part=is_part)
        try:
            reading = await self._told(
                spec,
                self._source.read(
                    spec, start_byte=start_byte, stop_byte=stop_byte, validators=validators
                ),
            )
        except BaseException:
            if line is not None:
                line.leave()
            raise
        return _BudgetedReading(reading, line)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether the source gives its content, as `Source.authorise`."""
        self._check(spec)
        async with self._turn(spec):
            return await self._told(spec, self._source.authorise(spec))

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether the source still has this version, as `Source.validate`."""
        self._check(spec)
        async with self._turn(spec):
            return await self._told(spec, self._source.validate(spec, validators))

    async def list_below(self, spec: TaskSpec) -> list[Member]:
        """Return all files below an address, as `Listing.list_below`."""
        self._check(spec)
        turn = partial(self._turn, spec)
        return await self._told(spec, self._source.list_below(spec, turn=turn))

    @asynccontextmanager
    async def _turn(self, spec: TaskSpec) -> AsyncIterator[None]:
        """Hold a connection of the budget inside the block."""
        line = await self._enter(spec)
        try:
            yield
        finally:
            if line is not None:
                line.leave()

    def _circuit(self, spec: TaskSpec) -> Circuit:
        return self._budgets.circuits[host_of(spec.url)]

    def _check(self, spec: TaskSpec) -> None:
        """Let a request to a source pass, if it is not ill.

        Raises:
            SourceIllError: It is.
        """
        if not self._budgets.failures_max:
            return
        now = now_s()
        ill = self._circuit(spec).ask(now_s=now)
        if ill is not None:
            raise SourceIllError(
                url=spec.display_url,
                reason=ill.reason,
                ill_s=now - ill.since_s,
                retry_s=max(ill.retry_s - now, 1.0),
            )

    async def _enter(self, spec: TaskSpec, *, is_part: bool = False) -> _Line | None:
        """Wait for a connection of the budget that holds; None: there is none."""
        try:
            while (line := self._budgets.line_of(spec)) is not None:
                holds = partial(self._is_line_of, spec, line)
                if await line.enter(is_part=is_part, holds=holds):
                    break
        except BaseException:
            self._circuit(spec).give_up()
            raise
        return line

    def _is_line_of(self, spec: TaskSpec, line: _Line) -> bool:
        return self._budgets.line_of(spec) is line

    async def _told(self, spec: TaskSpec, work: Awaitable[T]) -> T:
        """Ask, and tell the circuit what came of it."""
        circuit = self._circuit(spec)
        try:
            answer = await work
        except SourceUnreachableError as exc:
            self._fail(spec, exc.reason)
            raise
        except SourceRefusedError as exc:
            if exc.status in SERVER_ERRORS:
                self._fail(spec, f"it answered {exc.status}", retry_after_s(exc.http_headers))
            else:
                circuit.succeed()
            raise
        except SourceError:
            circuit.succeed()  # it answers; what, is for others to judge
            raise
        except BaseException:
            circuit.give_up()
            raise
        if isinstance(answer, SourceAnswer) and answer.status in SERVER_ERRORS:
            self._fail(spec, f"it answered {answer.status}", retry_after_s(answer.http_headers))
        else:
            circuit.succeed()
        return answer

    def _fail(self, spec: TaskSpec, reason: str, retry_s: float = 0.0) -> None:
        circuit = self._circuit(spec)
        if (
            circuit.fail(reason, now_s=now_s(), retry_after_s=retry_s)
            and self._budgets.failures_max
        ):
            log.warning("source_ill", host=host_of(spec.url), reason=reason)


class _BudgetedReading:
    """A reading whose bytes are counted, and whose connection is given back as it ends."""

    def __init__(self, reading: SourceReading, line: _Line | None) -> None:
        self._reading = reading
        self._line = line
        self.answer = reading.answer

    async def __aenter__(self) -> Self:
        await self._reading.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._leave()
        await self._reading.__aexit__(*exc_info)

    async def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what comes next of the body."""
        try:
            count = await self._reading.read_into(buffer)
        except BaseException:
            self._leave()  # it is asked again while this one is still open
            raise
        line = self._line
        if count < len(buffer):
            self._leave()
        if line is not None:
            await line.throttle.take(count)
        return count

    def _leave(self) -> None:
        if self._line is not None:
            self._line.leave()
            self._line = None
