"""Guards the limit on bytes per second, in a time that the test sets."""

import asyncio
from collections.abc import Coroutine
from heapq import heappop, heappush

from hypothesis import given, strategies as st

from damselfly.transport.throttle import BURST_S, Throttle


class Time:
    """A clock that jumps to the next sleeper when nobody is left to run."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def clock(self) -> float:
        """Return the time that it is."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Wait until the time has come."""
        woken = asyncio.Event()
        self._count += 1
        heappush(self._sleepers, (self.now_s + seconds, self._count, woken))
        await woken.wait()

    async def run(self, *works: Coroutine[object, object, None]) -> None:
        """Run all works to their end."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            while not all(task.done() for task in tasks):
                for _ in range(10):  # whoever can run does
                    await asyncio.sleep(0)
                if self._sleepers:
                    self.now_s, _, woken = heappop(self._sleepers)
                    woken.set()


async def test_no_limit_does_not_wait() -> None:
    time = Time()
    throttle = Throttle(0, clock=time.clock, sleep=time.sleep)

    await throttle.take(10**15)

    assert not throttle.is_limited


async def test_what_was_saved_up_is_free() -> None:
    time = Time()
    throttle = Throttle(1000, clock=time.clock, sleep=time.sleep)

    await throttle.take(round(1000 * BURST_S))  # would hang if it slept

    assert throttle.is_limited
    assert time.now_s == 0


async def test_more_than_the_bucket_holds_is_paid_for_afterwards() -> None:
    time = Time()
    throttle = Throttle(1000, clock=time.clock, sleep=time.sleep)

    await time.run(throttle.take(5000))

    assert round(time.now_s, 6) == 5 - BURST_S


async def test_a_long_pause_saves_up_no_more_than_a_burst() -> None:
    time = Time()
    throttle = Throttle(1000, clock=time.clock, sleep=time.sleep)
    time.now_s = 3600.0

    await time.run(throttle.take(5000))

    assert round(time.now_s - 3600, 6) == 5 - BURST_S


async def test_those_who_wait_are_served_in_their_order() -> None:
    time = Time()
    throttle = Throttle(1000, clock=time.clock, sleep=time.sleep)
    served: list[tuple[str, float]] = []

    async def take(name: str, count: int) -> None:
        await throttle.take(count)
        served.append((name, round(time.now_s + BURST_S, 6)))

    await time.run(take("large", 9000), take("small", 1), take("middle", 999))

    assert served == [("large", 9.0), ("small", 9.001), ("middle", 10.0)]


@given(
    rate=st.floats(1.0, 1e9),
    counts=st.lists(st.integers(1, 1 << 22), min_size=1, max_size=20),
)
def test_never_more_than_the_limit_and_a_burst(rate: float, counts: list[int]) -> None:
    time = Time()
    throttle = Throttle(rate, clock=time.clock, sleep=time.sleep)

    async def take_all() -> None:
        for count in counts:
            await throttle.take(count)

    asyncio.run(time.run(take_all()))

    least_s = sum(counts) / rate - BURST_S
    assert abs(time.now_s - max(least_s, 0)) <= 1e-9 * max(1.0, least_s)


async def test_the_real_clock_is_the_default() -> None:
    throttle = Throttle(1e12)

    await throttle.take(1)

    assert throttle.is_limited
