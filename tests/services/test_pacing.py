"""Guards how a preheat waits: behind live pulls, no longer than they last, within its own limit."""

import asyncio

import pytest

from damselfly.services.seeding.pacing import GaveWayError, Pace, Pacing
from damselfly.transport.throttle import Throttle

URL = "http://source.test/file"


async def test_giving_way_is_no_debt_of_the_preheats_own_limit() -> None:
    pacing, throttle = Pacing(trickle_bytes_per_s=1e9), Throttle(1000.0)
    with pacing.live():
        await Pace(pacing, throttle).give_way()

    assert throttle.reserve(50) < 1


async def test_preheat_waits_no_longer_than_the_live_pull_lasts() -> None:
    pacing = Pacing(trickle_bytes_per_s=1.0)
    pace = pacing.new()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        with pacing.live():
            waiting = [tasks.create_task(pace.give_way()), tasks.create_task(pace.take(1000))]
            await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)


async def test_live_pull_of_the_same_lifts_the_pace_at_once_and_counts_as_one() -> None:
    pacing = Pacing(rate_bytes_per_s=1.0, trickle_bytes_per_s=1.0)
    pace = pacing.new(1.0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(pace.take(1 << 20))
        await asyncio.sleep(0)
        assert pace.lift()
        assert not pace.lift()
        await waiting

    assert (pace.is_lifted, pacing.live_count) == (True, 1)
    pace.end()
    assert pacing.live_count == 0


async def test_connection_is_closed_once_for_each_time_that_live_pulls_begin() -> None:
    pacing = Pacing(trickle_bytes_per_s=1.0)
    pace = pacing.new()
    for _ in range(2):
        pace.check(URL)
        with pacing.live():
            with pytest.raises(GaveWayError):
                pace.check(URL)
            pace.check(URL)
